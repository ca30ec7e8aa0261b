"""The comparison of two models as a page for somebody who has to decide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePath

from pipeline.compare.models.comparison import ModelComparison
from pipeline.compare.models.families import MEASURES
from pipeline.document import Bar, Document, chart_of_shares
from pipeline.features import FeatureName
from pipeline.store import FeatureLabel, labels_beside

PROMPTS_SHOWN, FEATURES_SHOWN, EDGES_SHOWN, LAYERS_SHOWN = 20, 25, 12, 4

LIMITS = (
    "A difference counts if it lies beyond the margin that its row states, at a false discovery rate of 5% "
    "over all rows of its kind (Benjamini-Hochberg). Prompts of one cluster count once. Intervals hold 95%.",
    "Answers are judged by the next token alone. What is said of influence and paths is said by the graphs: "
    "how well these describe the model, `circuit-sweep validate` tests.",
    "Places to look at when training further come from influence on wrong answers. None of them was tried: "
    "`circuit-sweep test` and `steer` do that.",
    "Shares of influence in errors are those of a dictionary as much as of a model: neurons have none.",
    "A feature of another dictionary is the same only as far as it is active on the same contexts. Unmatched "
    "is not missing: what one dictionary has in one feature, another may hold in three.",
)


def model_page(found: ModelComparison) -> Document:
    """Return the report."""
    page = Document("Two models over the same prompts")
    labels = [labels_beside(side.output.folder) for side in (found.pair.a, found.pair.b)]
    _head(page, found)
    page.heading("Is B enough?")
    page.items(_answers(found))
    _picture(page, found)
    _measures(page, found)
    _circuits(page, found)
    _parted(page, found)
    _where(page, found, labels)
    _moved(page, found, labels)
    page.heading("What this does not say")
    page.items(LIMITS)
    return page


def _head(page: Document, found: ModelComparison) -> None:
    pair = found.pair
    rows = []
    for name, side in (("A", pair.a), ("B", pair.b)):
        run = side.output.claimed().run
        names = [PurePath(str(run.get(what, {}).get("name", ""))).name for what in ("model", "transcoders")]
        rows.append([name, *names, side.output.url])
    page.table(["", "model", "dictionary", "sweep"], rows)
    clusters = len(set(found.tables["compare_prompts"]["cluster"].to_pylist()))
    page.paragraph(
        f"{pair.shared:,} prompts that both traced, in {clusters:,} clusters; only in A {pair.only_a:,}, "
        f"only in B {pair.only_b:,}."
        + (f" {pair.without_group:,} belong to no family and are left out." if pair.without_group else "")
    )
    page.paragraph(
        "No yardstick was given, so a difference counts above the stated margins."
        if not found.yardsticks
        else "Yardstick: a difference counts beyond what A differs by from its equals, "
        f"{', '.join(found.yardsticks)}."
    )


def _rows_of(found: ModelComparison, measure: str) -> list[dict]:
    return [row for row in found.families if row["measure"] == measure]


def _answers(found: ModelComparison) -> list[str]:
    """Return a sentence a family on answers, and on what else differs there."""
    words = {measure.name: measure.words for measure in MEASURES}
    others = defaultdict(list)
    for row in found.families:
        if row["differs"] and row["measure"] != "correct":
            others[row["prompt_group"]].append(f"{words[row['measure']]} {row['difference']:+.2f}")
    return [_answer(row) + _other(others[row["prompt_group"]]) for row in _rows_of(found, "correct")]


def _other(differing: list[str]) -> str:
    return f" Its graphs differ in {', '.join(differing)}." if differing else ""


def _answer(row: Mapping) -> str:
    name = row["prompt_group"] or "all prompts"
    if row["value_a"] is None or row["value_b"] is None:
        return f"{name}: not judged, no prompt has an answer that both predictions can be held against."
    right = f"{name}: B answers {row['value_b']:.0%} right, A {row['value_a']:.0%}."
    if row["low"] is None:
        return f"{right} Too few clusters to say more: {row['clusters']}."
    between = f"between {row['low']:+.0%} and {row['high']:+.0%}"
    if row["differs"]:
        verdict = "B is worse" if row["difference"] < 0 else "B is better"
        return f"{right} {verdict}: the difference is {between}."
    if row["low"] >= -row["margin"]:
        return f"{right} B is at most {row['margin']:.0%} worse: the difference is {between}."
    return f"{right} Not known with {row['clusters']} clusters: the difference is {between}."


def _picture(page: Document, found: ModelComparison) -> None:
    bars = [
        Bar(
            row["prompt_group"] or "all prompts",
            row[f"value_{side}"],
            row[f"low_{side}"],
            row[f"high_{side}"],
            n,
        )
        for row in _rows_of(found, "correct")
        for n, side in enumerate("ab")
        if row[f"value_{side}"] is not None
    ]
    if bars:
        page.picture(
            chart_of_shares(bars, ("A", "B")), "Share of answers right in each family, with intervals"
        )


def _measures(page: Document, found: ModelComparison) -> None:
    page.heading("Answers and graphs by family")
    words = {measure.name: measure.words for measure in MEASURES}
    rows = [
        [
            row["prompt_group"] or "all",
            words[row["measure"]],
            str(row["clusters"]),
            _number(row["value_a"]),
            _number(row["value_b"]),
            _interval(row["difference"], row["low"], row["high"]),
            f"{row['margin']:.2f}",
            "differs" if row["differs"] else "",
        ]
        for row in found.families
    ]
    page.table(["family", "measure", "clusters", "A", "B", "difference", "margin", ""], rows)


def _circuits(page: Document, found: ModelComparison) -> None:
    page.heading("Features and edges in common")
    if found.match is None:
        page.paragraph("Both models were read with one dictionary: features are compared by index.")
    else:
        match = found.match
        control = (
            "what a random dictionary would match is not known"
            if match.random_share is None
            else f"a random dictionary matches {match.random_share:.1%}"
        )
        page.paragraph(
            f"Of {match.features:,} features of A {match.matched_share:.1%} have a match in B, each the "
            f"other's best; {control}. What is said below of shared, missing and new edges is said between "
            "matched features."
        )
    edges = found.tables["compare_edges"].to_pylist()
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in edges:
        counts[row["prompt_group"]][row["change"]] += 1
    rows = [
        [name or "all", *(str(c[change]) for change in ("shared", "missing", "new"))]
        for name, c in counts.items()
    ]
    page.table(["family", "edges of most prompts in both", "missing in B", "new in B"], rows)
    changed = sorted(
        (row for row in edges if row["change"] != "shared"),
        key=lambda row: -max(row["influence_a"], row["influence_b"]),
    )
    if not changed:
        page.paragraph("No edge is missing or new beyond chance.")
        return
    page.table(
        ["family", "edge", "", "clusters in A", "in B", "of"],
        [
            [
                row["prompt_group"] or "all",
                f"{row['source']} to {row['target']}",
                row["change"],
                *(str(row[name]) for name in ("clusters_a", "clusters_b", "clusters")),
            ]
            for row in changed[:EDGES_SHOWN]
        ],
    )


def _parted(page: Document, found: ModelComparison) -> None:
    page.heading("Where answers agree and circuits part")
    rows = [
        row
        for row in found.tables["compare_prompts"].to_pylist()
        if row["agree"] and row["parted"] is not None and row["parted"] > PART_AT_LEAST
    ]
    rows.sort(key=lambda row: (-row["parted"], row["id"]))
    if not rows:
        page.paragraph(f"Nowhere does B lack edges with more than {PART_AT_LEAST:.0%} of A's influence.")
        return
    page.paragraph(
        f"On {len(rows):,} prompts both predict the same, and more than {PART_AT_LEAST:.0%} of A's influence "
        "is on edges that B's graph lacks. A ranking, not a finding: the table above says in which families "
        "that is more than the margin."
    )
    page.table(
        ["prompt", "family", "both predict", "A's influence that B lacks"],
        [
            [row["text"], row["prompt_group"], (row["prediction_a"] or "").strip(), f"{row['parted']:.0%}"]
            for row in rows[:PROMPTS_SHOWN]
        ],
    )


PART_AT_LEAST = 0.05
"""Share of A's influence that B must lack for a prompt to be listed."""

Labels = Mapping[str, FeatureLabel]


def _where(page: Document, found: ModelComparison, labels: list[Labels]) -> None:
    page.heading("Where one would train B further")
    worse = [r["prompt_group"] for r in _rows_of(found, "correct") if r["differs"] and r["difference"] < 0]
    if not worse:
        page.paragraph("In no family is B shown to be worse.")
        return
    page.paragraph(
        "Families in which B is worse. First, the features that speak for its wrong answers: mean influence "
        "on the prompts that it has wrong, and on those that it has right. Then what A uses there and B has "
        "no match for, by layer."
    )
    wrong = found.on_wrong.to_pylist()
    rows = [
        [
            family or "all",
            _named(row["layer"], row["feature"], labels[1]),
            f"{row['on_wrong']:.4f}",
            "" if row["on_right"] is None else f"{row['on_right']:.4f}",
        ]
        for family in worse
        for row in [row for row in wrong if row["prompt_group"] == family][:LAYERS_SHOWN]
    ]
    page.table(["family", "feature of B", "on wrong prompts", "on right ones"], rows)
    by_layer: dict[tuple[str, int], float] = defaultdict(float)
    for row in found.lacking["a"].to_pylist():
        if row["prompt_group"] in worse:
            by_layer[row["prompt_group"], row["layer"]] += row["share"]
    if by_layer:
        ranked = sorted(by_layer.items(), key=lambda item: (item[0][0], -item[1]))
        page.table(
            ["family", "layer of A", "share of A's influence on features without a match"],
            [[family or "all", str(layer), f"{share:.1%}"] for (family, layer), share in ranked],
        )


def _moved(page: Document, found: ModelComparison, labels: list[Labels]) -> None:
    page.heading("Features that answer otherwise")
    moved = found.moved
    if not moved:
        page.paragraph("No feature's activation moved by more than a tenth of its largest, beyond chance.")
        return
    by_family: dict[str, int] = defaultdict(int)
    for row in moved:
        by_family[row["prompt_group"]] += 1
    page.paragraph(
        "By more than a tenth of their largest activation: "
        + ", ".join(f"{name or 'all'} {count}" for name, count in sorted(by_family.items()))
        + "."
    )
    page.table(
        ["family", "feature", "mean activation in A", "in B", "influence in A", "in B"],
        [
            [
                row["prompt_group"] or "all",
                _named(row["layer_a"], row["feature_a"], labels[0]),
                *(
                    f"{row[name]:.2f}"
                    for name in ("activation_a", "activation_b", "influence_a", "influence_b")
                ),
            ]
            for row in moved[:FEATURES_SHOWN]
        ],
    )


def _named(layer: int, feature: int, labels: Labels) -> str:
    name = str(FeatureName(layer, feature))
    return f"{name} {labels[name]}" if name in labels else name


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    return f"{value:+.2f}" if low is None else f"{value:+.2f} ({low:+.2f}..{high:+.2f})"
