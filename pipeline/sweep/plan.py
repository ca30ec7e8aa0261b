"""Estimate what a sweep will take, from tracing a few of its prompts here as a worker would.

All prompts are read and tokenised, which is the cheap part; so counts, repeats and lengths are exact, and
only what tracing shows is estimated. Nothing is written.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

import pyarrow as pa
import torch

from pipeline.errors import PromptError
from pipeline.model import token_text, tokenizers_own
from pipeline.peak_memory import bytes_in_use, peak_bytes, reset_peak
from pipeline.planning import Forecast, ModelSizes, PromptSizes, Sample, Setting, draw, forecast
from pipeline.runtime import Placement, SeenKeys, Shards, StageError, place_workers, read_seen
from pipeline.seconds import NO_SECONDS, Seconds
from pipeline.store import SWEEP, Output
from pipeline.store.rows import encode, extra_columns_schema, graph_tables, join_tables
from pipeline.sweep.attribution_work import traced_prompt
from pipeline.sweep.config import AttributionConfig, SweepConfig
from pipeline.sweep.engine import Engine
from pipeline.sweep.inputs import Inputs, open_inputs
from pipeline.sweep.memory import bytes_of_worker
from pipeline.sweep.positions import GENERATED, positions_of
from pipeline.sweep.prompts import PromptCounts, TokenizedPrompt, count_prompts
from pipeline.sweep.run import described, engine_config
from pipeline.token_labels import token_label
from schemas import TABLES

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tables = dict[str, pa.Table]

EXTRA_TABLES = ("head_loadings", "qk", "reconstruction")
"""Tables of a sweep that hold no part of the graph."""

HOST = torch.device("cpu")

SHORT_SECONDS, SHORT_REPEATS = 0.5, 3
"""Prompts that take less than this are timed as often."""


@dataclass(frozen=True)
class SweepPlan:
    """A sweep's forecast with what it rests on."""

    forecast: Forecast
    counts: PromptCounts

    graphs: int
    """Graphs that the prompts get, one a position; of generated text at most."""

    placement: Placement
    """Number of workers on this machine, and resources of each."""

    device: str
    """Kind of device: `cpu` or `cuda`."""

    block_pairs: int
    """(row, position) pairs of a block for the longest prompt."""

    load_seconds: float
    """Time that loading the model took."""

    samples: list[Sample]
    """Sizes and costs of the sampled prompts."""

    failures: list[str]
    """Reasons why others of the sample could not be traced."""

    extras: dict[str, tuple[float, float]]
    """Seconds and bytes a prompt of what is beside the graph itself, by option, column or table."""

    openings: list[str]
    """Remarks on how the prompts begin: which token was put in front of how many."""


def plan_sweep(config: SweepConfig, sample: int = 8, seed: int = 0) -> SweepPlan | None:
    """Estimate what is left of a sweep, or return None if nothing is left.

    Args:
        config: the sweep.
        sample: how many prompts to trace.
        seed: which ones.

    Raises:
        CircuitSweepError: an input cannot be used, the output belongs to another sweep, or none of the
            sampled prompts can be traced.

    """
    inputs = open_inputs(config)
    shards = Shards(inputs.items, inputs.run_key, config.prompts_a_shard, _seen(config, inputs))
    counts = count_prompts(shards, seed)
    if not counts.count:
        return None
    placement = _place_here(config, inputs)
    # What a worker would have: more threads would promise a speed that the sweep cannot keep.
    torch.set_num_threads(placement.cores)
    started = time.perf_counter()
    # As in a worker: several replicas on one GPU plan with a part of its memory each.
    share = min(1.0, placement.gpus or 1.0)
    loaded = Engine(replace(engine_config(config, inputs), device_share=share))
    load_seconds = time.perf_counter() - started
    drawn = draw(counts.kept, lambda prompt: len(prompt.token_ids), sample, seed)
    sampler = Sampler(loaded, extra_columns_schema(inputs.prompts.extra_columns))
    return plan_from(config, sampler, counts, placement, drawn, load_seconds)


def plan_from(
    config: SweepConfig,
    sampler: Sampler,
    counts: PromptCounts,
    placement: Placement,
    drawn: Sequence[TokenizedPrompt],
    load_seconds: float = 0.0,
) -> SweepPlan:
    """Trace the prompts that were drawn and estimate the rest from them.

    Raises:
        PromptError: none of them can be traced.

    """
    engine = sampler.engine
    loaded_bytes = bytes_in_use(*engine.model.devices)
    sampler.warm_up(drawn[0])
    for prompt in drawn:
        sampler.trace(prompt)
    if not sampler.samples:
        raise PromptError(f"none of the sampled prompts could be traced. The first: {sampler.failures[0]}")
    rule, zero = config.attribution, engine.model.zero_positions
    # Generated text is planned for as if it were all as long as it may become.
    more = rule.generation.max_new_tokens - 1 if rule.positions == GENERATED else 0
    lengths = {length + more: count for length, count in counts.lengths.items()}
    block_pairs = engine.planner.choose(max(lengths))
    setting = Setting(
        ModelSizes.of(engine.model),
        config.attribution,
        block_pairs,
        loaded_bytes,
        config.prompts_a_shard,
        sampler.write_together(),
    )
    return SweepPlan(
        forecast=forecast(setting, sampler.samples, lengths),
        counts=counts,
        graphs=sum(graphs_of(rule, length, zero) * count for length, count in counts.lengths.items()),
        placement=placement,
        device=engine.model.device.type,
        block_pairs=block_pairs,
        load_seconds=load_seconds,
        samples=sampler.samples,
        failures=sampler.failures,
        extras=sampler.extras(),
        openings=opening_remarks(counts, engine.model.tokenizer),
    )


def graphs_of(rule: AttributionConfig, length: int, zero_positions: int) -> int:
    """Return how many graphs a prompt of this length gets, at most where it is generated."""
    if rule.positions == GENERATED:
        return rule.generation.max_new_tokens
    return len(positions_of(rule.positions, length, zero_positions))


def opening_remarks(counts: PromptCounts, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Say what was put in front of prompts, and which begin with a word."""
    remarks = []
    for ids, count in counts.openings.items():
        if ids:
            label = " ".join(token_label(token_text(tokenizer, token)) for token in ids)
            own = (
                "as its tokenizer does"
                if ids == tokenizers_own(tokenizer)
                else "which its tokenizer does not"
            )
            remarks.append(f"{label} was put in front of {count:,} prompts, {own} (prompts.opening).")
    if counts.begin_with_words:
        remarks.append(
            f"{counts.begin_with_words:,} prompts begin with no special token: their first token carries no "
            "features (prompts.opening)."
        )
    return remarks


class Sampler:
    """The tracing of prompts one after the other, with what each took."""

    def __init__(self, engine: Engine, extra_columns: pa.Schema) -> None:
        self.engine = engine
        self.samples: list[Sample] = []
        self.failures: list[str] = []
        self._extra_columns = extra_columns
        self._tables: list[Tables] = []
        self._seconds: Counter[str] = Counter()
        self._runs = 0

    def warm_up(self, prompt: TokenizedPrompt) -> None:
        """Trace a prompt that is not counted: the first one also pays for what is set up once."""
        try:
            next(self.engine.traces(prompt.token_ids, prompt.targets))
        except StageError:
            return  # it will fail again where it is counted

    def trace(self, prompt: TokenizedPrompt) -> None:
        """Trace a prompt and count its rows' bytes."""
        reset_peak(HOST)
        try:
            sample, tables = self._timed(prompt)
        except StageError as error:
            self.failures.append(f"{prompt.id} ({error.stage}): {error}")
            return
        self._tables.append(tables)
        self.samples.append(replace(sample, host_bytes=peak_bytes(HOST), table_bytes=_encoded_bytes(tables)))

    def _timed(self, prompt: TokenizedPrompt) -> tuple[Sample, Tables]:
        """Trace a prompt; a short one several times, of which the median counts: other work disturbs it."""
        samples = [self._once(prompt)]
        while len(samples) < SHORT_REPEATS and samples[0][0].seconds.total < SHORT_SECONDS:
            samples.append(self._once(prompt))
        phases = [astuple(sample.seconds) for sample, _ in samples]
        sample, tables = samples[-1]
        return replace(sample, seconds=Seconds(*map(median, zip(*phases, strict=True)))), tables

    def _once(self, prompt: TokenizedPrompt) -> tuple[Sample, Tables]:
        """Trace all positions of a prompt as one: the sizes are those of the longest, with all targets."""
        tables, seconds, targets, peak = [], NO_SECONDS, 0, 0
        self._runs += 1
        for trace in self.engine.traces(prompt.token_ids, prompt.targets):
            started = time.perf_counter()
            tables.append(graph_tables(traced_prompt(prompt, trace, 0), self._extra_columns))
            self._seconds.update(trace.extras)
            seconds += trace.seconds + Seconds(tables=time.perf_counter() - started)
            targets, peak = targets + len(trace.graph.targets), max(peak, trace.peak_bytes)
            sizes = PromptSizes.of(trace.graph, trace.pruned)
            rows = sizes.rows - len(trace.graph.targets)
        joined = tables[0] if len(tables) == 1 else join_tables(tables)
        return Sample(replace(sizes, rows=rows + targets), seconds, peak, 0, 0), joined

    def extras(self) -> dict[str, tuple[float, float]]:
        """Return seconds and bytes a prompt of what is beside the graph itself."""
        count = len(self.samples)
        together = join_tables(self._tables)
        stored = {name: encode(TABLES[name], together[name]).size / count for name in EXTRA_TABLES}
        stored["constants_share"] = TABLES["graphs"].schema.field("constants_share").type.bit_width / 8
        # What `reconstruction` holds falls off where the model is frozen: its rows are all that it costs.
        return {name: (self._seconds[name] / self._runs, stored[name]) for name in sorted(stored)}

    def write_together(self) -> float:
        """Encode all as one shard, which is timed; return the bytes that any shard takes beside its prompts.

        What the sample's prompts take in files of their own, more than in common ones, is paid once for
        each set of files; there are as many sets as prompts, less one.
        """
        started = time.perf_counter()
        together = _encoded_bytes(join_tables(self._tables))
        each = (time.perf_counter() - started) / len(self.samples)
        writing = Seconds(writing=each)
        self.samples = [replace(sample, seconds=sample.seconds + writing) for sample in self.samples]
        alone = sum(sample.table_bytes for sample in self.samples)
        return (alone - together) / max(1, len(self.samples) - 1)


def _encoded_bytes(tables: Tables) -> int:
    return sum(encode(TABLES[name], rows).size for name, rows in tables.items())


def _seen(config: SweepConfig, inputs: Inputs) -> SeenKeys:
    """Return the prompts that the output has already; an output of another sweep is refused."""
    output = Output(config.output)
    if not output.folder.exists(SWEEP):
        return SeenKeys()
    # A claim on a folder that has one writes nothing: it only compares.
    output.claim(described(config, inputs), inputs.run_key, inputs.prompts.extra_columns)
    return read_seen(output)


def _place_here(config: SweepConfig, inputs: Inputs) -> Placement:
    """Return the workers of this machine, as Ray would be told of it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    machine = {"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count(), "memory": memory}
    needed = bytes_of_worker(inputs.model, inputs.transcoders, config.dtype, config.lazy_encoder)
    return place_workers(config.workers, [machine], needed)
