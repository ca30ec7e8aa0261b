"""Reports of planted effects, of dependent rows without one, and of a competitor that does as well."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.validation.report.groups import GroupReport, group_reports
from pipeline.validation.report.measures import COMPETITORS, MEASURES, RANKS, SIMPLER
from pipeline.validation.report.sentences import sentences

CLUSTERS, ROWS = 12, 8


def _faithfulness(effect: float, seed: int = 0, short: float = 1.0) -> pa.Table:
    """Graphs in clusters that all but repeat one another; circuits exceed random sets alone, by `effect`."""
    random = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(CLUSTERS), ROWS)

    def shares(mean: float) -> np.ndarray:
        return mean + random.normal(0, 0.3, CLUSTERS)[cluster] + random.normal(0, 0.01, len(cluster))

    columns: dict[str, object] = {
        "prompt_group": ["planted"] * len(cluster),
        "cluster": cluster,
        "is_at_stake": np.ones(len(cluster), bool),
        "necessity_q": np.where(random.random(len(cluster)) < 0.5, 0.01, 0.9),
        "null_size_ratio": np.full(len(cluster), short),
    }
    for measure in MEASURES:
        base = shares(0.2)
        columns[measure.column] = base + shares(effect)
        columns[f"{measure.column}_null"] = columns[f"{measure.column}_active_null"] = base
        columns[f"{measure.column}_by_norm"] = columns[measure.column] + shares(0)
        columns[f"{measure.column}_worst"] = columns[measure.column] + shares(1)
    for rank in RANKS:
        columns[rank.column] = shares(0.5)
    for name in SIMPLER:
        columns[f"spearman_{name}"] = columns["spearman"] + shares(0)
        columns[f"spearman_beside_{name}"] = shares(0)
    return pa.table(columns)


def _report(effect: float, seed: int = 0, **changes: float) -> GroupReport:
    (report,) = group_reports(_faithfulness(effect, seed, **changes))
    return report


def test_sentences_say_what_is_shown_and_what_is_not():
    found = sentences(_report(effect=1.0))
    held = next(sentence for sentence in found if sentence.startswith("Patterns held: circuits lose"))
    assert "lose more than matched sets and equal sets of any active features" in held
    assert "lose less than the worst set outside" in held
    assert "not shown to differ from as many of the largest" in held
    assert any(sentence.startswith("Replacement run: circuits keep more than") for sentence in found)
    assert any("patterns held), " in sentence and "(patterns free)" in sentence for sentence in found)
    assert not any("short of features" in sentence for sentence in found)
    assert any("they write 70%" in sentence for sentence in sentences(_report(1.0, short=0.7)))


def test_differences_of_dependent_rows_are_rarely_shown_where_there_are_none():
    """Twelve clusters are twelve observations: rows by themselves would show noise again and again."""
    shown = {"cluster": 0, "rows": 0}
    for seed in range(15):
        rows = _faithfulness(0.0, seed)
        singly = rows.drop_columns("cluster").append_column("cluster", pa.array(np.arange(rows.num_rows)))
        for name, table in (("cluster", rows), ("rows", singly)):
            difference = group_reports(table)[0].measured[0].competitors["null"].difference
            shown[name] += difference.is_above_zero or difference.is_below_zero
    assert shown["cluster"] <= 2
    assert shown["rows"] >= 4


def test_a_difference_is_paired():
    """An effect that is small beside how graphs differ is found: each is compared with its own sets."""
    planted = 0.1
    random = np.random.default_rng(3)
    rows = _faithfulness(0.0)
    null = random.normal(0, 2, rows.num_rows)
    column = MEASURES[0].column
    rows = rows.set_column(rows.column_names.index(f"{column}_null"), f"{column}_null", pa.array(null))
    own = pa.array(null + planted + random.normal(0, 0.01, rows.num_rows))
    rows = rows.set_column(rows.column_names.index(column), column, own)
    compared = group_reports(rows)[0].measured[0].competitors["null"]
    assert compared.difference.value == pytest.approx(planted, abs=0.02)
    assert compared.difference.is_above_zero
    assert compared.median.low < 0 < compared.median.high
    assert set(group_reports(rows)[0].measured[0].competitors) == set(COMPETITORS)
