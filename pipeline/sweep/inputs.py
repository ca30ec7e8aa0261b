"""The inputs of a sweep, opened and checked before any worker starts.

Everything that can be told without loading weights is told here, in the driver and in seconds: a missing
file or column, a model that does not exist or whose architecture is unknown, transcoders that do not fit.
Local safetensors are memory-mapped, so checking the shapes of large transcoders reads only headers. Files on
the Hub are checked by the first worker: the driver need not download weights that it will not use.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.builtin import resolve
from pipeline.errors import PromptError
from pipeline.hub import Pinned
from pipeline.model import (
    Opening,
    TracedTokens,
    architecture_of,
    check_chat_template,
    check_fit,
    fixed_prefix,
    load_config,
    load_tokenizer,
    opening_tokens,
    render_chat,
    token_id,
    tokenize_all,
)
from pipeline.store.commits import run_key
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.identity import identity
from pipeline.sweep.positions import LAST, Positions
from pipeline.sweep.prompts import (
    PromptItems,
    Prompts,
    ReadTargets,
    Tokenize,
    chosen_for_all,
    open_prompts,
    read_own_ids,
    read_own_targets,
)
from pipeline.sweep.prompts_config import PromptsConfig
from pipeline.sweep_model import pin_input
from pipeline.transcoders import load_transcoders

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Inputs:
    """A sweep's inputs, ready to be worked on."""

    prompts: Prompts
    model: Pinned
    transcoders: Pinned
    tokenize: Tokenize
    """Prompts to token ids, as the engine does it."""

    read_targets: ReadTargets | None
    """A prompt's own targets to token ids; None where all prompts have the same."""

    positions: Positions
    """Rule for the positions that are traced."""

    identity: dict[str, Any]
    """Everything that changes a result."""

    run_key: int
    """Hash of that identity."""

    @property
    def items(self) -> PromptItems:
        """The prompts as items of work."""
        return PromptItems(self.prompts, self.tokenize, self.read_targets, self.positions)


def open_inputs(config: SweepConfig) -> Inputs:
    """Open and check model, transcoders and prompts.

    Turns off the threads of tokenizers in this process, unless `TOKENIZERS_PARALLELISM` is set.

    Raises:
        ConfigurationError: the prompts cannot be read.
        ModelError: the model does not exist, or its architecture is not supported.
        TranscoderError: the transcoders do not exist, cannot be read, or do not fit the model.
        TargetError: the targets of all prompts are not the model's.

    """
    rule, targets = config.attribution, config.attribution.targets
    prompts = open_prompts(config.dataset, targets)
    model = pin_input(config.model, "model")
    transcoders = pin_input(config.transcoders, "transcoders")
    name = resolve(model.name, "model")
    described = load_config(name, config.trust_remote_code)
    architecture = architecture_of(described)
    if transcoders.folder is not None:
        loaded = load_transcoders(
            str(transcoders.folder), lazy_encoder=True, commits=transcoders.listed_commits
        )
        check_fit(described, architecture, loaded)
    tokenizer = load_tokenizer(name, config.trust_remote_code)
    chosen_for_all(targets, tokenizer, described.vocab_size)
    if rule.generation.stop is not None:
        token_id(tokenizer, rule.generation.stop, described.vocab_size)
    opening_tokens(tokenizer, config.prompts.opening, described.vocab_size)
    read = read_own_targets if targets.token_ids is None else read_own_ids
    own = partial(read, tokenizer=tokenizer, vocabulary_size=described.vocab_size)
    prefix = fixed_prefix(described, tokenizer)
    run = identity(config, model, transcoders, prefix)
    return Inputs(
        prompts=prompts,
        model=model,
        transcoders=transcoders,
        tokenize=_tokenize(config, prefix, described, tokenizer),
        read_targets=None if targets.of_each_prompt is None else own,
        positions=(rule.position,) if rule.positions == LAST else rule.positions,
        identity=run,
        run_key=run_key(run),
    )


def opening_of(prompts: PromptsConfig) -> Opening:
    """Return what is put in front of prompts; by default nothing in front of what a chat template wrote."""
    return "none" if prompts.chat and prompts.opening is None else prompts.opening


def _tokenize(
    config: SweepConfig,
    prefix: tuple[int, ...],
    described: PretrainedConfig,
    tokenizer: PreTrainedTokenizerBase,
) -> Tokenize:
    """Return a function from what prompts hold to token ids."""
    # Many short texts are no work for threads; and a process that had some warns when Ray forks it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    tokenize = partial(
        tokenize_all,
        tokenizer,
        vocabulary_size=described.vocab_size,
        context_length=getattr(described, "max_position_embeddings", None),
        fixed_prefix=prefix if config.zero_positions is None else (),
        zero_positions=config.zero_positions or 1,
        opening=opening_of(config.prompts),
    )
    if not config.prompts.chat:
        return tokenize
    check_chat_template(tokenizer, config.model, config.prompts.template)
    render = partial(render_chat, tokenizer, arguments=config.prompts.template)
    return lambda contents: _tokenize_chats(render, tokenize, contents)


def _tokenize_chats(
    render: Callable[[Any], str], tokenize: Tokenize, contents: Sequence[Any]
) -> list[TracedTokens | PromptError]:
    texts: list[str | PromptError] = []
    for content in contents:
        try:
            texts.append(render(content))
        except PromptError as error:
            texts.append(error)
    tokens = iter(tokenize([text for text in texts if isinstance(text, str)]))
    return [next(tokens) if isinstance(text, str) else text for text in texts]
