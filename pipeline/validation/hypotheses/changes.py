"""The changes of one prompt: to the chosen features, and to sets that could have been chosen in their place.

- matched: for each chosen feature another active one of its layer and position that writes about as much,
  then more of them (of the chosen layers and positions, of the layers, of all) until the summed changes agree
  to 5%.
- active: any active features, the chosen ones included, until the sums agree.
- largest: as many features, those that write most.
- random: as many active features, whatever they write.

Draws are the same features on every prompt, as far as these are active there: draw j prefers features by a
hash of j and their name. A hypothesis is about features, so chance is which features were named; sets drawn
anew on each prompt would average that chance away and call any arbitrary features significant, one way or the
other.

A feature that is put in has stand-ins of its layer: features that are active somewhere on the tested prompts,
set to what gives the same write norm (`random`: to the same value). `mixed` puts in what is put in on other
prompts.

Legend: N active features, n changed ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from pipeline.validation.faithfulness import fill
from pipeline.validation.hypotheses.question import Asked, Hypothesis, Named

DRAWN = ("matched", "active", "random")
"""Kinds of sets that are drawn again and again."""

LIKE = 2.0
"""Ratio of write norms up to which a feature is about as large as another."""


@dataclass(frozen=True)
class Changes:
    """Features with what becomes of each."""

    features: Int[np.ndarray, "n 3"]
    amounts: Float[np.ndarray, " n"]
    is_factor: Bool[np.ndarray, " n"]

    @classmethod
    def of(cls, parts: Sequence[Changes]) -> Changes:
        """Join changes; of a feature that several change the last counts."""
        features = np.concatenate([np.zeros((0, 3), np.int64), *(part.features for part in parts)])
        amounts = np.concatenate([np.zeros(0), *(part.amounts for part in parts)])
        is_factor = np.concatenate([np.zeros(0, bool), *(part.is_factor for part in parts)])
        last = len(features) - 1 - np.unique(features[::-1], axis=0, return_index=True)[1]
        return cls(features[last], amounts[last], is_factor[last])


@dataclass(frozen=True)
class Alive:
    """Features of one layer that are active on some tested prompt."""

    features: Int[np.ndarray, " m"]
    norms: Float[np.ndarray, " m"]
    """Norms of their decoders."""

    sizes: Float[np.ndarray, " m"]
    """Their largest write norm on the tested prompts."""


def priorities(
    draw: int, seed: int, layers: Int[np.ndarray, " n"], features: Int[np.ndarray, " n"]
) -> np.ndarray:
    """Return a hash of each feature in a draw: the same on every prompt."""
    with np.errstate(over="ignore"):
        x = layers.astype(np.uint64) << np.uint64(40) ^ features.astype(np.uint64)
        x = x * np.uint64(0x9E3779B97F4A7C15) ^ np.uint64(seed + 1) << np.uint64(32) ^ np.uint64(draw + 1)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
            x = (x ^ x >> np.uint64(shift)) * np.uint64(factor)
        return x ^ x >> np.uint64(31)


def draw_matched(
    active: Int[np.ndarray, "N 3"],
    sizes: Float[np.ndarray, " N"],
    own: Int[np.ndarray, " k"],
    priority: np.ndarray,
) -> Int[np.ndarray, " m"]:
    """Draw a set outside the chosen one that writes as much, by priority."""
    outside = np.ones(len(active), bool)
    outside[own] = False
    cells = active[:, 0] * (active[:, 1].max() + 1) + active[:, 1]
    taken: list[int] = []
    for index in own[np.argsort(-sizes[own], kind="stable")].tolist():
        near = outside & (cells == cells[index]) & (np.abs(np.log(sizes / sizes[index])) <= np.log(LIKE))
        near[taken] = False
        if (candidates := np.flatnonzero(near)).size:
            taken.append(int(candidates[priority[candidates].argmax()]))
    rest = np.argsort(priority, kind="stable")[::-1]
    rest = rest[outside[rest]]
    in_cell, in_layer = np.isin(cells[rest], cells[own]), np.isin(active[rest, 0], active[own, 0])
    order = [*taken, *rest[in_cell].tolist(), *rest[in_layer].tolist(), *rest.tolist()]
    return fill(order, sizes, float(sizes[own].sum())).indices


@dataclass(frozen=True)
class PromptChanges:
    """Builder of the changes of one prompt."""

    hypothesis: Hypothesis
    prompt: Asked
    write_norms: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """|activation| times decoder norm of features (n,3)."""

    alive: Mapping[int, Alive]
    others: Mapping[int, tuple[Named, ...]]
    """Features of each layer that are put in on other prompts."""

    seed: int

    @cached_property
    def sizes(self) -> Float[np.ndarray, " N"]:
        """Write norm of each active feature."""
        return np.maximum(self.write_norms(self.prompt.active, self.prompt.activations), 1e-30)

    @cached_property
    def own(self) -> Int[np.ndarray, " k"]:
        """Indices of the chosen features among the active ones."""
        return self._indices(self.hypothesis.features.on(self.prompt.key))

    @cached_property
    def put_in(self) -> tuple[Named, ...]:
        """Features that are set to values, each at one position."""
        if self.hypothesis.put_in is not None:
            return tuple(self._placed(item) for item in self.hypothesis.put_in.on(self.prompt.key))
        if self.hypothesis.value is None:
            return ()
        fixed = [item for item in self.hypothesis.features.on(self.prompt.key) if item.position is not None]
        cells = {(item.layer, self._placed(item).position, item.feature) for item in fixed}
        cells |= {tuple(cell) for cell in self.prompt.active[self.own].tolist()}
        value = self.hypothesis.value
        return tuple(Named(layer, feature, position, value) for layer, position, feature in sorted(cells))

    @property
    def scaled(self) -> Int[np.ndarray, " k"]:
        """The chosen features that are multiplied by the factor."""
        return self.own if self.hypothesis.value is None else self.own[:0]

    @property
    def is_there(self) -> bool:
        """True if there is anything to change on this prompt."""
        chosen = len(self.scaled) if self.hypothesis.value is None else len(self.put_in)
        return chosen > 0 and (self.hypothesis.put_in is None or len(self.put_in) > 0)

    def dose(self, strength: float) -> Changes:
        """Return the change at a strength: of a factor this factor instead, of values a multiple of them."""
        if self.hypothesis.put_in is None and self.hypothesis.value is None:
            return self._scale(self.own, strength)
        gone = self._scale(self.scaled, self.hypothesis.factor or 0.0)
        return Changes.of([gone, self._put([(item, strength * item.value) for item in self.put_in])])

    def chosen(self) -> Changes:
        """Return the change that the hypothesis is about."""
        return self.dose(1.0 if self.put_in else self.hypothesis.factor or 0.0)

    def drawn(self, kind: str, draw: int) -> tuple[Changes, float]:
        """Return a draw of one kind, and its summed size over that of the chosen features' change."""
        indices = self._stand_ins(kind, draw)
        scaled = self._scale(indices, self.hypothesis.factor or 0.0)
        wanted = self.sizes[self.scaled].sum()
        ratio = float(self.sizes[indices].sum() / wanted) if wanted else 1.0
        return Changes.of([scaled, self._put(self._put_stand_ins(kind, draw))]), ratio

    def mixed(self, draw: int) -> Changes:
        """Return the swap with features in it that are put in on other prompts."""
        items = []
        left: dict[int, list[int]] = {}
        for item in self.put_in:
            choices = self._mixable.get(item.layer, ())
            if item.layer not in left:
                names = np.full(len(choices), item.layer), np.array([one.feature for one in choices], int)
                left[item.layer] = np.argsort(priorities(draw, self.seed, *names)).tolist()
            if left[item.layer]:
                one = choices[left[item.layer].pop()]
                items.append((Named(one.layer, one.feature, item.position), one.value))
        return Changes.of([self._scale(self.scaled, self.hypothesis.factor or 0.0), self._put(items)])

    def _stand_ins(self, kind: str, draw: int) -> Int[np.ndarray, " m"]:
        own, active = self.scaled, self.prompt.active
        if not len(own):
            return own
        if kind == "largest":
            return np.argsort(-self.sizes, kind="stable")[: len(own)]
        priority = priorities(draw, self.seed, active[:, 0], active[:, 2])
        order = np.argsort(priority, kind="stable")[::-1]
        if kind == "random":
            return order[: len(own)]
        if kind == "active":
            return fill(order.tolist(), self.sizes, float(self.sizes[own].sum())).indices
        return draw_matched(active, self.sizes, own, priority)

    def _put_stand_ins(self, kind: str, draw: int) -> Iterator[tuple[Named, float]]:
        """Yield features of each layer in the place of those put in, with the values they are set to."""
        used: dict[int, int] = {}
        orders: dict[tuple[int, int | None], Int[np.ndarray, " m"]] = {}
        for item, norm in zip(self.put_in, self._put_norms.tolist(), strict=True):
            alive = self.alive.get(item.layer)
            if alive is None:
                continue
            cell = item.layer, item.position if kind == "active" else None
            if cell not in orders:
                orders[cell] = self._order(kind, draw, *cell)
            order = orders[cell]
            number = used[item.layer] = used.get(item.layer, -1) + 1
            if number >= len(order):
                continue
            index = int(order[number])
            scale = 1.0 if kind == "random" else norm / max(float(alive.norms[index]), 1e-30)
            yield Named(item.layer, int(alive.features[index]), item.position), item.value * scale

    def _order(self, kind: str, draw: int, layer: int, position: int | None) -> Int[np.ndarray, " m"]:
        """Return the alive features of a layer that may stand in, as indices, the first choice first."""
        alive = self.alive[layer]
        if position is None:
            free = ~np.isin(alive.features, [one.feature for one in self.put_in if one.layer == layer])
        else:
            here = (self.prompt.active[:, 0] == layer) & (self.prompt.active[:, 1] == position)
            free = np.isin(alive.features, self.prompt.active[here, 2])
        named = np.full(len(alive.features), layer), alive.features
        score = alive.sizes if kind == "largest" else priorities(draw, self.seed, *named)
        order = np.argsort(score, kind="stable")[::-1]
        return order[free[order]]

    @cached_property
    def _put_norms(self) -> Float[np.ndarray, " p"]:
        """Decoder norms of what is put in."""
        cells = [(item.layer, item.position, item.feature) for item in self.put_in]
        return self.write_norms(np.array(cells, dtype=np.int64).reshape(-1, 3), np.ones(len(cells)))

    def _indices(self, wanted: Sequence[Named]) -> Int[np.ndarray, " k"]:
        anywhere = {(item.layer, item.feature) for item in wanted if item.position is None}
        cells = {(i.layer, self._placed(i).position, i.feature) for i in wanted if i.position is not None}
        rows = enumerate(self.prompt.active.tolist())
        found = [i for i, (at, p, f) in rows if (at, f) in anywhere or (at, p, f) in cells]
        return np.array(found, dtype=int)

    def _placed(self, item: Named) -> Named:
        """Count a position from the start; a feature that is put in without one goes to the last."""
        position = -1 if item.position is None else item.position
        position += len(self.prompt.token_ids) if position < 0 else 0
        return Named(item.layer, item.feature, position, item.value)

    @cached_property
    def _mixable(self) -> dict[int, list[Named]]:
        """Features that are put in on other prompts and not on this one, by layer."""
        names = {(item.layer, item.feature) for item in self.put_in}
        return {
            layer: [one for one in items if (layer, one.feature) not in names]
            for layer, items in self.others.items()
        }

    def _scale(self, indices: Int[np.ndarray, " m"], factor: float) -> Changes:
        count = len(indices)
        return Changes(self.prompt.active[indices], np.full(count, factor), np.ones(count, bool))

    @staticmethod
    def _put(items: Sequence[tuple[Named, float]] | Iterator[tuple[Named, float]]) -> Changes:
        listed = list(items)
        cells = [(item.layer, item.position, item.feature) for item, _ in listed]
        values = np.array([value for _, value in listed], dtype=float)
        return Changes(
            np.array(cells, dtype=np.int64).reshape(-1, 3), values, np.zeros(len(listed), dtype=bool)
        )
