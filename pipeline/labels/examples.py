"""Examples of a feature: those that a label is made from, and others that it is tried on.

An example is a context, a token with all before it, since no more than that decides if the feature is active.
Prompts are split in two by a hash of their cluster, so that no prompt that a label is made from is among
those that it is tried on; contexts that both halves share (equal openings) are tried nowhere. Each cluster
gives one example at most: two positions of one text are no two observations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
from xxhash import xxh3_64_intdigest

from pipeline.aggregates import Grouping, read_groups
from pipeline.errors import ConfigurationError
from pipeline.features import FeatureName
from pipeline.results import Results
from pipeline.token_labels import printable_token

MAX_PROMPTS = 5000
"""Prompts that examples are taken from, the first by key: a hash, so any are as good as others."""

SHOWN = 12
"""Examples that a label is made from, the strongest."""

TRIED = 10
"""Held-out examples of each kind, active and not, that a label is tried on."""

LEAST_TRIED = 5
"""Fewer of a kind say nothing."""

CONTEXT = 40
"""Tokens of a context that are shown."""

PROMPTS = """
    select prompt_key, token_ids, tokens, cluster_hash
    from graphs join clusters using (prompt_key) order by prompt_key limit {most}
"""

ACTIVE = """
    select layer, feature, prompt_key, position, activation from activations
    where (layer, feature) in ({features}) and prompt_key <= {last}
"""

FIRST_ACTIVE = "select min(position) from activations"


@dataclass(frozen=True)
class Example:
    """A token in its context."""

    text: str
    """The context, the token between double angle brackets at its end."""

    activation: float
    """0 where the feature is not active."""


@dataclass(frozen=True)
class FeatureExamples:
    """The examples of one feature."""

    feature: FeatureName
    shown: tuple[Example, ...]
    """Those that a label is made from, the strongest first."""

    active: tuple[Example, ...]
    """Held-out contexts in which it is active."""

    inactive: tuple[Example, ...]
    """Held-out contexts in which it is not."""

    @property
    def can_be_tried(self) -> bool:
        """True if there are enough held-out examples of either kind."""
        return min(len(self.active), len(self.inactive)) >= LEAST_TRIED


Place = tuple[int, int]
"""Index of a prompt, and position in it."""


class Contexts:
    """The contexts of a sweep's prompts, split in two halves."""

    def __init__(self, results: Results, cluster: str | None = None) -> None:
        """Read the prompts.

        Args:
            results: a sweep.
            cluster: column of `graphs` whose values are clusters; by default positions of one text, and
                prompts of the same tokens. A prompt without a value is a cluster of its own.

        Raises:
            ConfigurationError: there is no such column, or no graph yet.

        """
        columns = results.output.schemas["graphs"].names
        if cluster is not None and cluster not in columns:
            raise ConfigurationError(f"--cluster {cluster!r} is no column of graphs: {', '.join(columns)}.")
        named = None if cluster is None else f'"{cluster}"'
        groups = read_groups(results.snapshot, Grouping(cluster=named))
        connection = results.connection()
        connection.register("clusters", groups.rows.select(["prompt_key", "cluster_hash"]))
        rows = connection.sql(PROMPTS.format(most=MAX_PROMPTS)).to_arrow_table()
        self._results = results
        self._keys: list[int] = rows["prompt_key"].to_pylist()
        self._tokens: list[list[str]] = rows["tokens"].to_pylist()
        ids = rows["token_ids"].to_pylist()
        self._cluster: list[str] = rows["cluster_hash"].to_pylist()
        self._held_out = [xxh3_64_intdigest(name.encode()) % 2 == 1 for name in self._cluster]
        self._context = [_contexts(prompt) for prompt in ids]
        self._begin: int = results.sql(FIRST_ACTIVE).fetchall()[0][0] or 0

    def examples(self, features: Iterable[FeatureName], seed: int = 0) -> list[FeatureExamples]:
        """Return the examples of features, in their order."""
        features = list(features)
        active: dict[tuple[int, int], dict[Place, float]] = defaultdict(dict)
        for layer, feature, prompt, position, activation in self._active(features):
            active[layer, feature][prompt, position] = activation
        return [self._of(feature, active[feature.layer, feature.feature], seed) for feature in features]

    def _active(self, features: list[FeatureName]) -> Iterable[tuple]:
        if not features or not self._keys:
            return []
        named = ", ".join(f"({feature.layer}, {feature.feature})" for feature in features)
        rows: pa.Table = self._results.sql(
            ACTIVE.format(features=named, last=self._keys[-1])
        ).to_arrow_table()
        index = {key: number for number, key in enumerate(self._keys)}
        prompts = [index[key] for key in rows["prompt_key"].to_pylist()]
        columns = (rows[name].to_pylist() for name in ("position", "activation"))
        return zip(rows["layer"].to_pylist(), rows["feature"].to_pylist(), prompts, *columns, strict=True)

    def _of(self, feature: FeatureName, active: dict[Place, float], seed: int) -> FeatureExamples:
        random = np.random.default_rng([seed, feature.layer, feature.feature])
        mine = [place for place in active if not self._held_out[place[0]]]
        strongest = sorted(mine, key=lambda place: (-active[place], place))
        shown = self._one_each(strongest, set(), set(), SHOWN)
        taken = {self._context[prompt][position] for prompt, position in mine}
        clusters: set[str] = set()
        others = [place for place in active if self._held_out[place[0]]]
        held_out = self._one_each(_shuffled(others, random), taken, clusters, TRIED)
        silent = [
            (prompt, position)
            for prompt in range(len(self._keys))
            if self._held_out[prompt]
            for position in range(self._begin, len(self._tokens[prompt]))
            if (prompt, position) not in active
        ]
        taken |= self._shown_contexts
        inactive = self._one_each(_shuffled(silent, random), taken, clusters, TRIED)
        kinds = (
            tuple(self._example(place, active.get(place, 0.0)) for place in places)
            for places in (shown, held_out, inactive)
        )
        return FeatureExamples(feature, *kinds)

    def _one_each(
        self, places: Iterable[Place], contexts: set[int], clusters: set[str], most: int
    ) -> list[Place]:
        """Choose places of new contexts in new clusters, and add these to what is taken."""
        chosen = []
        for prompt, position in places:
            context, cluster = self._context[prompt][position], self._cluster[prompt]
            if context in contexts or cluster in clusters:
                continue
            contexts.add(context)
            clusters.add(cluster)
            chosen.append((prompt, position))
            if len(chosen) == most:
                break
        return chosen

    @cached_property
    def _shown_contexts(self) -> set[int]:
        halves = zip(self._context, self._held_out, strict=True)
        return {context for contexts, held_out in halves if not held_out for context in contexts}

    def _example(self, place: Place, activation: float) -> Example:
        prompt, position = place
        tokens = [printable_token(token) for token in self._tokens[prompt][: position + 1]]
        *before, last = tokens[max(0, position - CONTEXT) :]
        # Tokens of most models hold their own spaces, words of a vocabulary of words do not.
        space = "" if any(token.startswith(" ") for token in self._tokens[prompt]) else " "
        return Example(space.join([*before, f"<<{last}>>"]), activation)


def _contexts(token_ids: list[int]) -> list[int]:
    """Return a hash of each context of a prompt."""
    found, context = [], 0
    for token in token_ids:
        context = xxh3_64_intdigest(f"{context} {token}".encode())
        found.append(context)
    return found


def _shuffled(places: list[Place], random: np.random.Generator) -> list[Place]:
    places = sorted(places)
    return [places[index] for index in random.permutation(len(places))]
