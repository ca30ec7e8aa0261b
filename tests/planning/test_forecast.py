"""Forecasts from samples that are made up, so that what must come out is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.attribution import AttributionOptions
from pipeline.planning.forecast import Forecast, Setting, forecast
from pipeline.planning.memory import prompt_bytes
from pipeline.planning.sample import Sample
from pipeline.planning.sizes import ModelSizes, PromptSizes
from pipeline.seconds import Seconds

MODEL = ModelSizes(4, 64, 4, 64, 32, 4096, 1.0, False, 1, 4)
RATE = 500
LENGTHS = {5: 10, 9: 20, 41: 1}


def setting(loaded_bytes: int = 1000, **options: int) -> Setting:
    return Setting(
        MODEL,
        AttributionOptions(**options),
        block_pairs=4096,
        loaded_bytes=loaded_bytes,
        shard_size=8,
        file_bytes=700.0,
    )


def sample(positions: int, where: Setting, factor: float = 1.0) -> Sample:
    """Return a prompt that takes `factor` times the memory that is counted for it."""
    active = RATE * (positions - 1)
    sizes = PromptSizes(positions, active, where.options.max_rows(active), 0.2, 50.0)
    own = int(prompt_bytes(MODEL, sizes, where.options, where.block_pairs).peak * factor)
    took = where.loaded_bytes + own
    return Sample(sizes, Seconds(rows=1e-6 * active), took, took, 700 + 3 * (positions - 1))


def made(where: Setting, factor: float = 1.0) -> Forecast:
    return forecast(where, [sample(5, where, factor), sample(9, where, factor)], LENGTHS)


def test_what_grows_with_the_positions_is_summed_over_all_prompts() -> None:
    found = made(setting())
    carrying = 10 * 4 + 20 * 8 + 40
    assert found.active.total == pytest.approx(RATE * carrying)
    assert found.active.error == pytest.approx(0, abs=1e-6)
    assert found.output_bytes.total == pytest.approx(3 * carrying + 700 * 4)  # 31 prompts in shards of 8
    assert found.longest == 41


def test_a_cap_bounds_the_rows_but_not_the_features() -> None:
    found = made(setting(max_feature_nodes=3000))
    assert found.active.total == pytest.approx(RATE * 240)
    assert found.rows.total == pytest.approx(10 * 2000 + 20 * 3000 + 3000, rel=0.01)


def test_the_peak_is_the_longest_prompts_and_not_the_samples() -> None:
    where = setting()
    found = made(where)
    longest = PromptSizes(41, RATE * 40, RATE * 40, 0.2, 50 / 2000 * RATE * 40)
    counted = prompt_bytes(MODEL, longest, where.options, where.block_pairs).peak
    assert found.device_bytes == pytest.approx(1000 + counted, rel=0.01)
    assert found.host_bytes == found.device_bytes
    assert counted > 10 * sample(9, where).device_bytes


@pytest.mark.parametrize(("loaded", "factor"), [(1000, 1.5), (1 << 40, 1.0)])
def test_a_count_is_corrected_by_peaks_that_show(loaded: int, factor: float) -> None:
    """Beside a terabyte of weights the sample's own peaks are noise, and the count stands as it is."""
    plain, where = made(setting()), setting(loaded)
    own = made(where, 1.5).device_bytes - loaded
    assert own == pytest.approx((plain.device_bytes - 1000) * factor, rel=0.01)


def test_on_a_gpu_the_host_is_told_apart() -> None:
    where = setting()
    samples = [replace(sample(positions, where), host_bytes=10**12) for positions in (5, 9)]
    assert forecast(where, samples, LENGTHS).host_bytes == 10**12


def test_hours_fall_with_the_replicas() -> None:
    found = made(setting())
    assert found.hours(1) == 4 * found.hours(4) == found.seconds.total / 3600
