"""A feature as viewers show it, from the sweep's own activations.

Examples are prompts of the sweep: those where the feature is strongest, and a few from each third of the
others. All figures are over the sweep's prompts, not over a corpus. A layer takes passes over `activations`,
or over a few row groups of it after a compaction; what does not fit memory DuckDB spills.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pipeline.export.names import feature_number
from pipeline.results import Results

TOP_EXAMPLES, BAND_EXAMPLES = 10, 5
"""Prompts that are shown, of the strongest and of each band below them."""

BANDS = ("Top activations", "Upper third", "Middle third", "Lower third")

HISTOGRAM_BINS = 40

STATISTICS = """
select feature, count(*) as active, min(activation) as low, max(activation) as high,
       quantile_cont(activation, [{percents}]) as percentiles
from {rows} group by feature
"""

HISTOGRAM = """
with span as (select feature, min(activation) as low, max(activation) as high from {rows} group by feature),
binned as (
    select feature,
           least({bins} - 1, floor((activation - low) / greatest(high - low, 1e-30) * {bins}))::int as bin
    from {rows} join span using (feature)
)
select feature, bin, count(*) as active from binned group by all
"""

EXAMPLES = """
with peaks as (
    select feature, prompt_key, max(activation) as peak, arg_max(position, activation) as position
    from {rows} group by all
),
ranked as (
    select *, row_number() over (partition by feature order by peak desc, prompt_key) as rank from peaks
),
banded as (
    select *, case when rank <= {top} then 0
        else ntile(3) over (partition by feature, rank <= {top} order by rank) end as band
    from ranked
),
spread as (
    select *, row_number() over (partition by feature, band order by rank) - 1 as nth,
           count(*) over (partition by feature, band) as size
    from banded
),
chosen as (
    select * from spread where band = 0 or nth % greatest(1, (size + {few} - 1) // {few}) = 0
)
select feature, band, rank, chosen.position, tokens,
       list({{'position': here.position, 'activation': here.activation}}) as activations
from chosen join graphs using (prompt_key) join {rows} here using (feature, prompt_key)
group by all order by feature, band, rank
"""


def feature_documents(
    results: Results, layer: int, features: Iterable[int], scan: str
) -> dict[int, dict[str, Any]]:
    """Return the documents of some features of a layer, by the number that names their files."""
    wanted = ", ".join(str(feature) for feature in sorted(set(features)))
    rows = f"(from activations where layer = {layer} and feature in ({wanted}))"
    examples = _examples(results, rows)
    histograms = _histograms(results, rows)
    positions = results.sql("select sum(positions) from graphs").fetchall()[0][0]
    return {
        feature_number(layer, feature): {
            "transcoder_id": scan,
            "layer": layer,
            "index": feature,
            "examples_quantiles": examples[feature],
            "top_logits": [],
            "bottom_logits": [],
            "act_min": low,
            "act_max": high,
            "quantile_values": percentiles,
            "histogram": histograms[feature],
            "activation_frequency": active / positions,
        }
        for feature, active, low, high, percentiles in _fetch(results, STATISTICS, rows)
    }


def _fetch(results: Results, query: str, rows: str) -> list[tuple]:
    sizes = {"bins": HISTOGRAM_BINS, "top": TOP_EXAMPLES, "few": BAND_EXAMPLES}
    percents = ", ".join(f"{percent / 100:.2f}" for percent in range(1, 100))
    return results.sql(query.format(rows=rows, percents=percents, **sizes)).fetchall()


def _histograms(results: Results, rows: str) -> dict[int, list[int]]:
    histograms: dict[int, list[int]] = defaultdict(lambda: [0] * HISTOGRAM_BINS)
    for feature, bin, active in _fetch(results, HISTOGRAM, rows):
        histograms[feature][bin] = active
    return histograms


def _examples(results: Results, rows: str) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for feature, band, _, peak, tokens, activations in _fetch(results, EXAMPLES, rows):
        by_position = {at["position"]: at["activation"] for at in activations}
        example = {
            "tokens": tokens,
            "tokens_acts_list": [by_position.get(position, 0.0) for position in range(len(tokens))],
            "train_token_ind": peak,
            "is_repeated_datapoint": False,
        }
        found[feature][BANDS[band]].append(example)
    return {
        feature: [{"quantile_name": name, "examples": bands[name]} for name in BANDS if name in bands]
        for feature, bands in found.items()
    }
