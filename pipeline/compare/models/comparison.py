"""Two models over one dataset: answers, graphs, features and edges, family by family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.compare.circuits import circuits_by_prompt
from pipeline.compare.matching import Match
from pipeline.compare.models.edges import edge_rows
from pipeline.compare.models.families import family_rows, yardstick_of
from pipeline.compare.models.features import feature_rows, same_features
from pipeline.compare.shared_features import match_sweeps
from pipeline.compare.sweep_pair import PairedSweep, SweepPair, open_pair
from pipeline.errors import ConfigurationError
from pipeline.store import open_folder
from pipeline.store.rows import encode
from schemas import MODEL_TABLES

PROMPTS = """
    select p.id, p.prompt_group, p.cluster, a.text,
        a.prediction as prediction_a, b.prediction as prediction_b,
        trim(a.prediction) = trim(b.prediction) as agree,
        1 - replacement_score_a as error_share_a, 1 - replacement_score_b as error_share_b,
        1 - shared_influence as parted, new_influence, d.* exclude (prompt, id, prompt_group)
    from prompts p join described d using (prompt)
        join a_graphs a on a.prompt_key = p.a_key join b_graphs b on b.prompt_key = p.b_key
        left join circuits using (prompt)
    order by prompt
"""

LACKING = """
    select * from (
        select prompt_group, layer, feature, sum(influence::double) as influence,
            sum(influence::double) / sum(sum(influence::double)) over (partition by prompt_group) as share
        from {side}_nodes n join prompts on n.prompt_key = {side}_key
        where n.kind = 'feature' group by prompt_group, layer, feature
    ) where (layer, feature) not in (select (layer_{side}, feature_{side}) from paired)
    order by influence desc
"""

ON_WRONG = """
    select prompt_group, layer, feature,
        sum(influence::double) filter (where not right_b) / any_value(wrong) as on_wrong,
        sum(influence::double) filter (where right_b) / nullif(any_value(total) - any_value(wrong), 0)
            as on_right
    from b_nodes n join prompts on n.prompt_key = b_key join judged using (prompt)
        join (select prompt_group, count(*) as total, count(*) filter (where not right_b) as wrong
            from prompts join judged using (prompt) group by all) using (prompt_group)
    where n.kind = 'feature' and wrong > 0
    group by prompt_group, layer, feature having on_wrong > 0 order by prompt_group, on_wrong desc
"""


@dataclass(frozen=True)
class ModelComparison:
    """What two models do with the same prompts."""

    pair: SweepPair

    match: Match | None
    """Match of the features; None where both have one dictionary, and features are compared by index."""

    tables: dict[str, pa.Table]
    """Rows of `compare_families`, `compare_prompts`, `compare_features` and `compare_edges`."""

    lacking: dict[str, pa.Table]
    """Features of A and of B without a partner, by family: `layer`, `feature`, `influence`, `share`."""

    on_wrong: pa.Table
    """Features of B by their mean influence on the prompts that it has wrong: `on_wrong`, `on_right`."""

    yardsticks: tuple[str, ...]
    """Outputs that equal A but for what means nothing."""

    @property
    def families(self) -> list[dict]:
        """Rows of `compare_families`."""
        return self.tables["compare_families"].to_pylist()

    @property
    def moved(self) -> list[dict]:
        """Features that moved, most influential first."""
        rows = [row for row in self.tables["compare_features"].to_pylist() if row["moved"]]
        return sorted(rows, key=lambda row: -max(row["influence_a"], row["influence_b"]))


def compare_models(
    a: PairedSweep,
    b: PairedSweep,
    by: str | None = None,
    cluster: str | None = None,
    answer: str = "answer",
    repeats: Sequence[PairedSweep] = (),
    min_correlation: float = 0.5,
    run_model: bool = True,
) -> ModelComparison:
    """Compare two models by their sweeps of one dataset.

    Args:
        a: sweep of the first model.
        b: sweep of the second.
        by: column of A's `graphs`, or SQL over them: the families. Prompts without a value are left out.
        cluster: the same for clusters, which count once; by default prompts of the same tokens.
        answer: column with the right answer, or a list of several.
        repeats: sweeps of models that differ from A by nothing of interest, such as another seed: what
            they differ by sets the least difference that counts.
        min_correlation: least correlation of matched features.
        run_model: run B's model with random dictionaries, as the control of a match.

    Raises:
        StoreError: one of them is no sweep, or they share no prompt.
        ConfigurationError: prompts cannot be grouped so, or there is no such column of answers.

    """
    for name, side in (("A", a), ("B", b)):
        if answer not in side.columns:
            raise ConfigurationError(
                f"--answer {answer!r}: {name} ({side.output.url}) has no such column, and without right "
                "answers two models cannot be told by what they know; its columns are "
                f"{', '.join(side.output.extra_columns.names) or 'none of yours'}."
            )
    yardsticks = []
    for repeat in repeats:
        _, _, prompts = _compared(
            open_pair(a, repeat, by, cluster, only_grouped=True), answer, min_correlation, False
        )
        yardsticks.append(family_rows(prompts))
    pair = open_pair(a, b, by, cluster, only_grouped=True)
    match, paired, prompts = _compared(pair, answer, min_correlation, run_model)
    tables = {
        "compare_families": family_rows(prompts, yardstick_of(yardsticks)),
        "compare_prompts": prompts,
        "compare_features": feature_rows(pair, paired),
        "compare_edges": edge_rows(pair),
    }
    lacking = {side: pair.sql(LACKING.format(side=side)) for side in "ab"}
    judged = pa.table({"prompt": range(1, len(prompts) + 1), "right_b": prompts["correct_b"]})
    pair.connection.register("judged", judged.filter(judged["right_b"].is_valid()))
    urls = tuple(repeat.output.url for repeat in repeats)
    return ModelComparison(pair, match, tables, lacking, pair.sql(ON_WRONG), urls)


def _compared(
    pair: SweepPair, answer: str, min_correlation: float, run_model: bool
) -> tuple[Match | None, pa.Table, pa.Table]:
    """Return the match, the pairs of features, and the rows of `compare_prompts`."""
    same = pair.same_dictionary and pair.aligned
    match = None if same else match_sweeps(pair, min_correlation, run_model)
    rows = same_features(pair) if match is None else match.rows
    paired = rows.filter(rows["matched"])
    pair.connection.register("described", pair.described(answer))
    pair.connection.register("circuits", circuits_by_prompt(pair, paired))
    schema = MODEL_TABLES["compare_prompts"].schema
    return match, paired, pair.sql(PROMPTS).select(schema.names).cast(schema)


def write_model_tables(comparison: ModelComparison, url: str) -> None:
    """Write the tables as one Parquet file each."""
    folder = open_folder(url)
    for name, rows in comparison.tables.items():
        folder.replace(f"{name}.parquet", encode(MODEL_TABLES[name], rows).to_pybytes())
