"""Prompts to shards: tokenise, key, group, leave out what is done.

Runs in the driver, one prompt after the other and never more than a shard ahead of what is asked for. A
prompt that cannot be tokenised travels with its shard as a failure, so that it is committed with the same
marker as its neighbours' graphs and is not tried again either. Shards are cut before the done prompts are
left out: a sweep that is started again then makes the very shards, with the same ids, that a straggler of
the first may still be committing. Order is the dataset's.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import compress, islice
from operator import attrgetter, not_
from typing import TYPE_CHECKING, Any

from pipeline.errors import PromptError, TargetError
from pipeline.store import Output
from pipeline.store.commits import prompt_key, shard_id, text_key
from pipeline.store.rows import FailedPrompt
from pipeline.sweep.prompts import DONE, FAILED, SEEN, Ledger

if TYPE_CHECKING:
    from pipeline.sweep.prompts import ChosenTargets, Prompt

Tokenize = Callable[[Sequence[Any]], Sequence[list[int] | PromptError]]
"""What prompts hold to the token ids of each, or to why there are none."""

ReadTargets = Callable[[Any], "ChosenTargets"]
"""What a prompt's own column says to targets."""

Identified = tuple[int, "Prompt", "Sequence[int] | PromptError | TargetError", "ChosenTargets | None"]
"""A prompt's key, the prompt, its tokens or why it cannot be traced, and its own targets: all that is made of
a prompt that was done before."""

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
        columns = [list(map(attrgetter(column.name), self.prompts)) for column in fields(kind)]
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


def read_ledger(output: Output) -> Ledger:
    """Read the keys of all prompts with a graph, and of all that failed."""
    done, failed = array("q"), array("q")
    for marker in output.committed():
        done.extend(marker.prompt_keys)
        failed.extend(marker.failed_keys)
    return Ledger(done, failed)


@dataclass
class Shards:
    """The shards of a sweep, made once, while they are asked for, and a count of what was left out."""

    prompts: Iterable[Prompt]
    tokenize: Tokenize
    run_key: int
    size: int
    read_targets: ReadTargets | None = None
    """Set where prompts have targets of their own."""

    known: Ledger = field(default_factory=Ledger)
    """What was committed before, and what was met since."""

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
        """Yield the shards that are still to do; once, for then the ledger has met all prompts."""
        if self.read:
            raise RuntimeError(
                "these shards were made before: make new ones from a ledger that is read anew."
            )
        prompts = iter(self.prompts)
        while (left := self._left(prompts)) is not None:
            if left:
                yield self._shard(left)

    def _left(self, prompts: Iterator[Prompt]) -> list[Identified] | None:
        """Read as many different prompts as a shard has and return those still to do; None after the last."""
        left: list[Identified] = []
        lacking = self.size
        while read := self._identify(list(islice(prompts, lacking))):
            before = self.known.mark([identified[0] for identified in read], SEEN)
            left += compress(read, map(not_, before))
            lacking -= self._count(read, before)
        return left if lacking < self.size else None

    def _count(self, read: list[Identified], before: list[int]) -> int:
        """Count what needs nothing, by what was known of it before, and return how many were not met yet."""
        self.read += len(read)
        self.already_done += before.count(DONE) + before.count(DONE | FAILED)
        self.already_failed += before.count(FAILED)
        met = [state & SEEN for state in before]
        for key, prompt, *_ in compress(read, met):
            self._note_repeated(key, prompt)
        return met.count(0)

    def _note_repeated(self, key: int, prompt: Prompt) -> None:
        self.repeated += 1
        if len(self.repeated_keys) < REPEATS_NAMED:
            self.repeated_keys.setdefault(prompt.id, key)

    def _identify(self, prompts: list[Prompt]) -> list[Identified]:
        contents = [prompt.content for prompt in prompts if prompt.content is not None]
        tokens = iter(self.tokenize(contents))
        return [
            self._identified(prompt, next(tokens) if prompt.content is not None else NO_PROMPT)
            for prompt in prompts
        ]

    def _identified(self, prompt: Prompt, tokens: list[int] | PromptError) -> Identified:
        if isinstance(tokens, PromptError):
            return text_key(repr(prompt.content)), prompt, tokens, None
        try:
            targets = None if self.read_targets is None else self.read_targets(prompt.targets)
        except TargetError as error:
            return text_key(repr((prompt.content, prompt.targets))), prompt, error, None
        return prompt_key(tokens, targets.key if targets else ()), prompt, tokens, targets

    def _shard(self, left: list[Identified]) -> Shard:
        prompts = [_ready(*one) for one in left if not isinstance(one[2], Exception)]
        rejected = [self._rejected(*one) for one in left if isinstance(one[2], Exception)]
        return Shard(tuple(prompts), tuple(rejected), self.run_key)

    def _rejected(self, key: int, prompt: Prompt, error: PromptError | TargetError, _: None) -> FailedPrompt:
        stage = "tokenize" if isinstance(error, PromptError) else "targets"
        return _ready(key, prompt, (), None).failed(self.run_key, stage, error)


def _ready(key: int, prompt: Prompt, tokens: Sequence[int], targets: ChosenTargets | None) -> ShardPrompt:
    text = prompt.content if isinstance(prompt.content, str) else None
    return ShardPrompt(key, prompt.id, text, tuple(tokens), prompt.columns, targets)
