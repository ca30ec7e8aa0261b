"""Prompts to shards: tokenise, key, group, leave out what is done.

Runs in the driver, one prompt after the other and never more than a shard ahead of what is asked for. A
prompt that cannot be tokenised travels with its shard as a failure, so that it is committed with the same
marker as its neighbours' graphs and is not tried again either. Shards are cut before the done prompts are
left out: a sweep that is started again then makes the very shards, with the same ids, that a straggler of
the first may still be committing. Order is the dataset's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import compress, islice
from operator import not_, or_
from typing import TYPE_CHECKING, Any

from pipeline.errors import PromptError, TargetError
from pipeline.store import FailedPrompt, Output, prompt_key, shard_id, text_key
from pipeline.sweep.key_set import KeySet

if TYPE_CHECKING:
    from pipeline.sweep.prompts import Prompt
    from pipeline.sweep.targets import ChosenTargets

Tokenize = Callable[[Sequence[Any]], Sequence[list[int] | PromptError]]
"""What prompts hold to the token ids of each, or to why there are none."""

ReadTargets = Callable[[Any], "ChosenTargets"]
"""What a prompt's own column says to targets."""

NO_PROMPT = PromptError("the row has no prompt: its value is null.")

REPEATS_NAMED = 10_000
"""Repeated prompts that the run's report names."""


@dataclass(slots=True)
class ShardPrompt:
    """A prompt that is ready to be traced. Not frozen for the reason that `Prompt` is not."""

    prompt_key: int
    """Identity of the prompt: a hash over its token ids, and over its targets where it has its own."""

    id: str
    """The user's name for it."""

    text: str | None
    """The text as given; None where only token ids were given."""

    token_ids: tuple[int, ...]
    """What is traced."""

    carried: Mapping[str, Any]
    """Values of the columns that are carried along."""

    targets: ChosenTargets | None = None
    """What its graph explains, where prompts differ in that."""

    def failed(self, run_key: int, stage: str, error: Exception, attempts: int = 1) -> FailedPrompt:
        """Return the row of `failures` that this prompt becomes."""
        return FailedPrompt(
            prompt_key=self.prompt_key,
            id=self.id,
            run_key=run_key,
            text=self.text,
            stage=stage,
            error_class=type(error).__name__,
            message=str(error),
            attempts=attempts,
            carried=self.carried,
        )


@dataclass(frozen=True)
class Shard:
    """The unit of work, retry and commit."""

    prompts: tuple[ShardPrompt, ...]
    """What is to be traced."""

    rejected: tuple[FailedPrompt, ...]
    """Prompts that have no tokens; they only have to be recorded."""

    run_key: int
    """The run that it belongs to."""

    deaths: int = 0
    """Workers that died on it."""

    errors: int = 0
    """Times that it could not be written."""

    suspect: bool = False
    """Whether a worker died on it, or on what it was cut from: then a worker has nothing else beside it, so
    that no neighbour shares the blame."""

    @property
    def id(self) -> str:
        """Identity of the unit of work: a hash over its prompts and the run."""
        return shard_id([p.prompt_key for p in (*self.prompts, *self.rejected)], self.run_key)

    def __len__(self) -> int:
        return len(self.prompts) + len(self.rejected)

    def __reduce__(self) -> tuple[Callable[..., Shard], tuple[Any, ...]]:
        """Pickle the prompts by column: one by one they are a third of what it costs to send a shard."""
        kind = type(self.prompts[0]) if self.prompts else ShardPrompt
        columns = [[getattr(prompt, column.name) for prompt in self.prompts] for column in fields(kind)]
        return _from_columns, (kind, columns, {**vars(self), "prompts": ()})

    def until(self, done: int) -> Shard:
        """Return the first so many prompts, with all that was rejected, as a shard of its own."""
        return replace(self, prompts=self.prompts[:done])

    def after(self, done: int) -> Shard:
        """Return what is left after `until` was committed; a prompt that is now alone has a clean record."""
        if not done:
            return self
        left = self.prompts[done:]
        return replace(self, prompts=left, rejected=(), deaths=self.deaths if len(left) > 1 else 0)

    def after_death(self, counts: bool = True) -> Shard:
        """Return it as it is tried again; `counts` is whether the death can have been its doing.

        What a prompt alone had a neighbour for is not held against it: only then may two deaths give it up.
        """
        if not counts:
            return self
        held_alone = self.suspect or len(self.prompts) > 1
        return replace(self, deaths=self.deaths + int(held_alone), suspect=True)

    def split(self) -> tuple[Shard, Shard]:
        """Return two halves, which are suspects: one death more splits them again.

        A prompt alone starts without a record, so that it is given up only after killing twice by itself.
        """
        middle = (len(self.prompts) + 1) // 2
        first = replace(self, prompts=self.prompts[:middle])
        second = replace(self, prompts=self.prompts[middle:], rejected=())
        return tuple(replace(half, deaths=int(len(half.prompts) > 1)) for half in (first, second))


def _from_columns(kind: type[ShardPrompt], columns: list[list[Any]], rest: dict[str, Any]) -> Shard:
    return Shard(**{**rest, "prompts": tuple(map(kind, *columns))})


def committed_keys(output: Output) -> tuple[KeySet, KeySet]:
    """Read the keys of all prompts with a graph, and of all that failed."""
    done, failed = KeySet(), KeySet()
    for marker in output.committed():
        done.update(marker.prompt_keys)
        failed.update(marker.failed_keys)
    return done, failed


@dataclass
class Shards:
    """The shards of a sweep, made while they are asked for, and a count of what was left out."""

    prompts: Iterable[Prompt]
    tokenize: Tokenize
    run_key: int
    size: int
    read_targets: ReadTargets | None = None
    """Set where prompts have targets of their own."""

    done: KeySet = field(default_factory=KeySet)
    """Keys of prompts with committed graphs."""

    failed: KeySet = field(default_factory=KeySet)
    """Keys of prompts with committed failures."""

    read: int = 0
    """Prompts read so far."""

    already_done: int = 0
    already_failed: int = 0
    repeated: int = 0
    repeated_keys: dict[str, int] = field(default_factory=dict)
    """Ids of the first of the repeated prompts, with the keys under which their graphs are."""

    @property
    def passed_over(self) -> int:
        """Prompts that need nothing: done before, or repeated."""
        return self.already_done + self.already_failed + self.repeated

    def __iter__(self) -> Iterator[Shard]:
        """Yield the shards that are still to do."""
        prompts, seen = iter(self.prompts), KeySet()
        while waiting := self._different(prompts, seen):
            yield from self._cut(waiting)

    def _different(self, prompts: Iterator[Prompt], seen: KeySet) -> list[ShardPrompt | FailedPrompt]:
        """Read as many prompts as a shard has that were not seen before."""
        different: list[ShardPrompt | FailedPrompt] = []
        while read := self._prepare(list(islice(prompts, self.size - len(different)))):
            self.read += len(read)
            new = seen.add([prompt.prompt_key for prompt in read])
            different += compress(read, new)
            for prompt in compress(read, map(not_, new)):
                self._note_repeated(prompt)
        return different

    def _note_repeated(self, prompt: ShardPrompt | FailedPrompt) -> None:
        self.repeated += 1
        if len(self.repeated_keys) < REPEATS_NAMED:
            self.repeated_keys.setdefault(prompt.id, prompt.prompt_key)

    def _prepare(self, prompts: list[Prompt]) -> list[ShardPrompt | FailedPrompt]:
        contents = [prompt.content for prompt in prompts if prompt.content is not None]
        tokens = iter(self.tokenize(contents))
        return [
            self._prepared(prompt, next(tokens) if prompt.content is not None else NO_PROMPT)
            for prompt in prompts
        ]

    def _prepared(self, prompt: Prompt, tokens: list[int] | PromptError) -> ShardPrompt | FailedPrompt:
        text = prompt.content if isinstance(prompt.content, str) else None
        if isinstance(tokens, PromptError):
            return self._rejected(prompt, text, tokens)
        try:
            targets = None if self.read_targets is None else self.read_targets(prompt.targets)
        except TargetError as error:
            return self._rejected(prompt, text, error)
        key = prompt_key(tokens, targets.key if targets else ())
        return ShardPrompt(key, prompt.id, text, tuple(tokens), prompt.columns, targets)

    def _rejected(self, prompt: Prompt, text: str | None, error: PromptError | TargetError) -> FailedPrompt:
        given = prompt.content if isinstance(error, PromptError) else (prompt.content, prompt.targets)
        nameless = ShardPrompt(text_key(repr(given)), prompt.id, text, (), prompt.columns)
        return nameless.failed(
            self.run_key, "tokenize" if isinstance(error, PromptError) else "targets", error
        )

    def _cut(self, waiting: list[ShardPrompt | FailedPrompt]) -> Iterator[Shard]:
        keys = [prompt.prompt_key for prompt in waiting]
        done, failed = self.done.holds(keys), self.failed.holds(keys)
        self.already_done += sum(done)
        self.already_failed += sum(failed)
        left = list(compress(waiting, map(not_, map(or_, done, failed))))
        if left:
            prompts = tuple(prompt for prompt in left if isinstance(prompt, ShardPrompt))
            rejected = tuple(prompt for prompt in left if isinstance(prompt, FailedPrompt))
            yield Shard(prompts, rejected, self.run_key)
