"""Forecast of the cost of all prompts, from a sample's costs and every prompt's length.

Counts, seconds and bytes are sums, each estimated by its ratio to a size that follows from the length: active
features and output by the positions that can carry features, rows by the same up to a cap, seconds by the
operations of those rows. Peaks are not sums: they belong to the longest prompt, and are counted for it by
`pipeline.planning.memory` with the highest rate of active features in the sample, then corrected by what the
sample's own peaks were beside their counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from pipeline.attribution import AttributionOptions
from pipeline.planning.estimate import Estimate, ratio_estimate
from pipeline.planning.memory import prompt_bytes
from pipeline.planning.sample import Sample
from pipeline.planning.sizes import ModelSizes, PromptSizes

SHARE_THAT_SHOWS = 0.1
"""A sampled prompt's own memory tells something if it is at least this share of the process's: below, what
allocators do hides it."""


@dataclass(frozen=True)
class Forecast:
    """Expected cost of a sweep."""

    active: Estimate
    """Active features."""

    rows: Estimate
    """Rows: expanded features and targets."""

    seconds: Estimate
    """Wall seconds of one replica, loading left out."""

    output_bytes: Estimate
    """Bytes of the tables' files."""

    device_bytes: float
    """Peak memory on the device for the longest prompt, the model included."""

    host_bytes: float
    """Peak memory of the process; the same without a GPU."""

    longest: int
    """Positions of the longest prompt."""

    def hours(self, replicas: int) -> float:
        """Return the wall time in hours on `replicas` replicas that do not slow each other."""
        return self.seconds.total / replicas / 3600


@dataclass(frozen=True)
class Setting:
    """Inputs that are the same for all prompts."""

    model: ModelSizes
    options: AttributionOptions
    block_pairs: int
    """(row, position) pairs of a block."""

    loaded_bytes: int
    """Memory in use on the device before the first prompt."""

    shard_size: int
    """Prompts in a shard."""

    file_bytes: float
    """Bytes of a shard's files that do not depend on its prompts."""


def forecast(setting: Setting, samples: Sequence[Sample], lengths: Mapping[int, int]) -> Forecast:
    """Estimate what all prompts take.

    Args:
        setting: inputs that are the same for all prompts.
        samples: costs of the sampled prompts.
        lengths: number of prompts by their number of positions.

    """
    growth = _Growth.of(setting.model, setting.options, samples)
    count = sum(lengths.values())

    def estimate(values: Sequence[float], size: str) -> Estimate:
        grow = getattr(growth, size)
        total = sum(grow(positions) * number for positions, number in lengths.items())
        return ratio_estimate(values, [grow(item.sizes.positions) for item in samples], total, count)

    longest = max(lengths)
    device_bytes = setting.loaded_bytes + _own_bytes(setting, samples, growth.largest(longest))
    above = max(item.host_bytes - item.device_bytes for item in samples)
    return Forecast(
        active=estimate([item.sizes.active for item in samples], "carrying"),
        rows=estimate([item.sizes.rows for item in samples], "rows"),
        seconds=estimate([item.seconds.total for item in samples], "operations"),
        output_bytes=estimate([item.table_bytes - setting.file_bytes for item in samples], "carrying")
        + setting.file_bytes * ceil(count / setting.shard_size),
        device_bytes=device_bytes,
        host_bytes=device_bytes if above <= 0 else max(item.host_bytes for item in samples),
        longest=longest,
    )


@dataclass(frozen=True)
class _Growth:
    """Growth of a prompt's cost with its length."""

    model: ModelSizes
    options: AttributionOptions
    rate: float
    """Active features per position that can carry some, over the sample."""

    highest_rate: float
    """The same of the sampled prompt that has most."""

    row_share: float
    """Rows over the features that the options let have one."""

    density: float
    """Edges held over rows times sources, the highest of the sample."""

    kept: float
    """Edges that pruning keeps for each row, the most of the sample."""

    @classmethod
    def of(cls, model: ModelSizes, options: AttributionOptions, samples: Sequence[Sample]) -> _Growth:
        sizes = [item.sizes for item in samples]
        carrying = [max(1, size.positions - model.zero_positions) for size in sizes]
        allowed = sum(options.max_rows(size.active) for size in sizes)
        return cls(
            model=model,
            options=options,
            rate=sum(size.active for size in sizes) / sum(carrying),
            highest_rate=max(size.active / n for size, n in zip(sizes, carrying, strict=True)),
            row_share=sum(size.rows for size in sizes) / max(1.0, allowed),
            density=max(size.density or 0.0 for size in sizes),
            kept=max((size.kept_edges or 0.0) / size.rows for size in sizes),
        )

    def carrying(self, positions: int) -> float:
        """Return the positions that can carry features."""
        return max(1, positions - self.model.zero_positions)

    def rows(self, positions: int) -> float:
        """Return the rows that are expected."""
        return self.row_share * self.options.max_rows(self.rate * self.carrying(positions)) + 1

    def operations(self, positions: int) -> float:
        """Return the operations that rows are expected to take."""
        active = self.rate * self.carrying(positions)
        return self.model.row_operations(positions, active, self.rows(positions))

    def largest(self, positions: int) -> PromptSizes:
        """Return the sizes of a prompt with more active features than most."""
        active = self.highest_rate * self.carrying(positions)
        rows = self.row_share * self.options.max_rows(active)
        density = None if self.options.edges_per_row is not None else self.density
        return PromptSizes(positions, active, rows, density, self.kept * rows)


def _own_bytes(setting: Setting, samples: Sequence[Sample], prompt: PromptSizes) -> float:
    """Return the bytes that a prompt adds, by count and by how the sample's counts compare with its peaks."""
    counted, measured = 0.0, 0.0
    for item in samples:
        own = prompt_bytes(setting.model, item.sizes, setting.options, setting.block_pairs).peak
        if own > SHARE_THAT_SHOWS * setting.loaded_bytes:
            counted += own
            measured += max(0, item.device_bytes - setting.loaded_bytes)
    correction = measured / counted if counted else 1.0
    return prompt_bytes(setting.model, prompt, setting.options, setting.block_pairs).peak * correction
