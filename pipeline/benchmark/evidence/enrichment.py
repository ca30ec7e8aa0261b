"""False discovery rates, on prompts and features in which every tie must be false.

Of enrichment here; of supernodes and of matches in `supernodes` and `matches`, of verdicts on
graphs in `necessity`.

Prompts are made the way that people make them: opening words, a state of the world, an answer that it
decides, and the same text under several targets. Features follow one of these, or nothing. Labels are noise,
constant within one kind of cluster, and are drawn again and again. Beside the test by cluster stands its
competitor, Fisher's exact test over single prompts. One feature is planted that does follow the labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int
from scipy.stats import false_discovery_control

from pipeline.aggregates.stats import ALONE, Clusters, enrichment, read_clusters
from pipeline.benchmark.evidence import matches, necessity, supernodes
from pipeline.benchmark.report import Report, Settings

LABELINGS = 200
"""Noise labelings of each kind."""

RATE = 0.05
"""False discovery rate asked for."""

GROUPS, FEATURES, TEXTS = 2, 300, 320

Labels = Int[np.ndarray, " prompts"]


# P prompts, F features
@dataclass(frozen=True)
class Prompts:
    """Prompts, and what labels may follow."""

    present: Bool[np.ndarray, "P F"]
    """Features that are on each prompt."""

    clusters: Labels
    """Number of the cluster within which labels are constant."""


@dataclass(frozen=True)
class Realised:
    """Outcomes of the tests of many labelings."""

    false_discoveries: float
    """Mean number in a labeling."""

    any_false: float
    """Share of the labelings with a false discovery: the rate, were there nothing to find."""

    rate: float
    """Mean share of discoveries that are false, 0 where there are none."""

    found: float
    """Share of the labelings in which the planted feature was found."""


def draw_prompts(kind: str, seed: int = 0) -> Prompts:
    """Draw prompts whose labels will be constant within a kind of cluster.

    Args:
        kind: `prompt`, `state`, `answer`, `opening words`, `text, 2 targets` or `text, 4 targets`.
        seed: of everything that is drawn.

    """
    random = np.random.default_rng(seed)
    text = np.arange(TEXTS)
    opening, state = random.integers(40, size=TEXTS), random.integers(60, size=TEXTS)
    answer = random.integers(45, size=60)[state]
    parents = [text, opening, state, answer]
    on = np.empty((TEXTS, FEATURES), bool)
    for feature in range(FEATURES):
        parent = parents[feature % len(parents)]
        follows = random.random(parent.max() + 1) < random.beta(1, 3)
        on[:, feature] = random.random(TEXTS) < np.where(follows, 0.95, 0.02)[parent]
    repeats = int(kind.split()[1]) if kind.startswith("text") else 1
    cluster = {"prompt": text, "state": state, "answer": answer, "opening words": opening}.get(kind, text)
    _, cluster = np.unique(cluster, return_inverse=True)
    return Prompts(np.repeat(on, repeats, axis=0), np.repeat(cluster, repeats))


KINDS = ("prompt", "state", "answer", "opening words", "text, 2 targets", "text, 4 targets")


def realised(prompts: Prompts, cluster: Labels, labelings: int, seed: int = 1) -> Realised:
    """Test noise labels that are constant within `prompts.clusters`, with `cluster` as the units.

    The planted feature is on nearly all of one group's clusters and few others.
    """
    random = np.random.default_rng(seed)
    sums, n_clusters = _Sums.of(prompts.present, cluster), int(prompts.clusters.max()) + 1
    false, with_any, rates, found = 0, 0, 0.0, 0
    for _ in range(labelings):
        label = random.permutation(np.arange(n_clusters) % GROUPS)
        planted = random.random(n_clusters) < np.where(label == 0, 0.95, 0.05)
        discovered = sums.discoveries(label[prompts.clusters], planted[prompts.clusters])
        n_false = int((discovered != FEATURES).sum())
        false, with_any, rates = (
            false + n_false,
            with_any + (n_false > 0),
            rates + n_false / max(len(discovered), 1),
        )
        found += bool((discovered == FEATURES).any())
    return Realised(false / labelings, with_any / labelings, rates / labelings, found / labelings)


@dataclass(frozen=True)
class _Sums:
    """Counts by cluster that no labeling changes."""

    cluster: Labels
    rows: dict[str, np.ndarray]

    @classmethod
    def of(cls, present: Bool[np.ndarray, "P F"], cluster: Labels) -> _Sums:
        counts = np.zeros((int(cluster.max()) + 1, present.shape[1]), np.int64)
        np.add.at(counts, cluster, present)
        number, feature = np.nonzero(counts)
        return cls(cluster, {"feature": feature, "cluster": number, "prompts": counts[number, feature]})

    def discoveries(self, label: Labels, planted: Bool[np.ndarray, " P"]) -> Int[np.ndarray, " found"]:
        """Return the features of the tests that are discoveries; the planted one comes last."""
        names = np.array([f"group {group}" for group in range(GROUPS)])
        rows = pa.table({"prompt_group": names[label], "stratum": [""] * len(label), "cluster": self.cluster})
        clusters, cluster = read_clusters(rows)
        one = _Sums.of(planted[:, None], cluster).rows
        one["feature"] = one["feature"] + FEATURES
        both = {name: np.concatenate([self.rows[name], one[name]]) for name in one}
        tests = enrichment(_table(both, clusters), clusters, 5)
        q_values = false_discovery_control(tests["p_value"].to_numpy())
        return tests["feature"].to_numpy()[q_values <= RATE]


def _table(rows: dict[str, np.ndarray], clusters: Clusters) -> pa.Table:
    number = rows["cluster"]
    labels = {"cluster_group": clusters.group[number], "stratum": clusters.stratum[number]}
    alone = np.where(clusters.size[number] == 1, ALONE, number)
    return pa.table(rows | labels | {"cluster": alone})


def report(settings: Settings) -> Report:
    """Measure all kinds of labels, by cluster and by single prompt."""
    rows = []
    for kind in KINDS:
        prompts = draw_prompts(kind)
        single = np.arange(len(prompts.clusters))
        for units, cluster in (("clusters", prompts.clusters), ("prompts", single)):
            found = realised(prompts, cluster, LABELINGS)
            shares = (f"{share:.3f}" for share in (found.any_false, found.rate, found.found))
            rows.append((kind, units, f"{found.false_discoveries:,.2f}", *shares))
    rows += supernodes.rows(LABELINGS) + matches.rows(LABELINGS)
    rows += necessity.rows(LABELINGS)
    columns = ("noise constant per", "units", "false", "any false", "false rate", "planted found")
    remarks = (
        f"{LABELINGS} labelings each, of {FEATURES} features over {GROUPS} groups, false discovery rate "
        f"of {RATE}. One planted feature follows the labels; only its discoveries are true. False: mean "
        "number of false ones. Any false: labelings that have one. False rate: their mean share of all. "
        f"Supernodes: as many draws of noise features, and of these with {supernodes.GROUPS} planted "
        "groups; false are stable ones of noise, found is the share of the groups. Matches: two dictionaries "
        "whose features answer to tokens by chance, a tenth of them copies; false are matches of others, "
        f"which are to be about 1% of the {matches.FEATURES}, found is the share of the copies. "
        f"Graphs: {necessity.GRAPHS} in clusters of {necessity.REPEATS} that nearly repeat "
        "one another; false are circuits without an effect that are called necessary."
    )
    return Report(columns, tuple(rows), remarks)
