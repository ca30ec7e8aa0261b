"""Effects of the built-in model's state features, from a sweep's tables and interventions alone.

A feature is called selective for a state if it is active at the last token of at least 80% of the state's
two-hop prompts and of at most a given share of the other states'. The tables say which are; nothing about
what they do goes into the choice. How strict that share is decides what is found, so several are tried and
all of them reported. Three things are then done to every held-out two-hop prompt:

- ablation: its state's features are set to 0 at the last token; the same is done to random sets of
  active features matched by layer, position and activation;
- swap: its state's features are set to 0 and those of another state to twice their usual activation,
  over all layers, over the first half of them, or at the city's token instead of the last;
- the same swap over all layers with features of several random states in place of the other state's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import torch
from jaxtyping import Float, Int

from pipeline.intervention import BaseRun, Intervention, InterventionBatch, Mode, intervene_many
from pipeline.model import ReplacementModel
from pipeline.store import Output
from pipeline.validation import MatchedSampler

SELECTIVE = """
    with last as (
        select subject, layer, feature, activation
        from activations join graphs using (prompt_key)
        where family = 'two_hop' and position = positions - 1
    ),
    prompts as (select subject, count(*) as prompts from graphs where family = 'two_hop' group by subject),
    total as (select sum(prompts) as prompts from prompts),
    everywhere as (select layer, feature, count(*) as active from last group by all)
    select subject, layer, feature, avg(activation) as activation,
        count(*) / any_value(prompts.prompts) as within,
        (any_value(active) - count(*)) / (any_value(total.prompts) - any_value(prompts.prompts)) as elsewhere
    from last join prompts using (subject) join everywhere using (layer, feature) cross join total
    group by subject, layer, feature
    having within >= 0.8 and elsewhere <= $elsewhere
    order by subject, layer, feature
"""

HELD_OUT = """
    select prompt_key, id, text, subject, answer, token_ids, positions from graphs
    where family = 'two_hop' and held_out order by id
"""

ACTIVE = """
    select prompt_key, layer, position, feature, activation
    from activations join graphs using (prompt_key) where family = 'two_hop' and held_out order by all
"""

CAPITALS = "select distinct subject, answer from graphs where family = 'two_hop'"

ActiveFeatures = tuple[Int[np.ndarray, "N 3"], Float[np.ndarray, " N"]]
"""(layer, position, feature) of a prompt's active features, sorted, and their activations."""

SHARES = (0.01, 0.1, 0.2, 0.3)
"""Shares of other states' prompts on which a selective feature may be active, from strict to lenient."""

TIMES = 2.0
"""Strength of another state's features in a swap, as a multiple of their usual activation."""


@dataclass(frozen=True)
class StateFeature:
    """A feature that is active for one state only."""

    layer: int
    feature: int
    activation: float
    """Mean over the state's prompts, where active."""


@dataclass(frozen=True)
class Study:
    """A sweep of the built-in prompts, as the study reads it."""

    model: ReplacementModel
    features: dict[str, list[StateFeature]]
    """Selective features by state."""

    prompts: list[dict]
    """Held-out two-hop prompts: rows of `graphs`."""

    active: dict[int, ActiveFeatures]
    """Their active features, by prompt key."""

    capitals: dict[str, int]
    """Token of each state's capital."""

    @classmethod
    def of(cls, model: ReplacementModel, output: Output, elsewhere: float) -> Study:
        """Read the tables.

        Args:
            model: the built-in model.
            output: a sweep over its prompts.
            elsewhere: share of other states' prompts on which a selective feature may be active.

        """
        connection = output.duckdb()
        features: dict[str, list[StateFeature]] = {}
        rows = connection.execute(SELECTIVE, {"elsewhere": elsewhere}).fetchall()
        for state, layer, feature, activation, *_ in rows:
            features.setdefault(state, []).append(StateFeature(layer, feature, activation))
        token = model.tokenizer.convert_tokens_to_ids
        capitals = {state: token(capital) for state, capital in connection.sql(CAPITALS).fetchall()}
        prompts = connection.sql(HELD_OUT).to_arrow_table().to_pylist()
        return cls(model, features, prompts, _active(connection), capitals)

    def states_by_layer(self) -> list[int]:
        """Return for each layer how many states have a selective feature."""
        return [
            sum(any(item.layer == layer for item in items) for items in self.features.values())
            for layer in range(self.model.n_layers)
        ]


@dataclass(frozen=True)
class Ablation:
    """Effect on one prompt of setting its state's features to 0."""

    id: str
    features: int
    """Selective features that were active."""

    drop: float
    """Fall of the right capital's logit (less the mean logit)."""

    null: Float[np.ndarray, " draws"]
    """The same for each random set."""

    size_ratio: float
    """Summed activation of the random sets over that of the features they stand for, mean of the draws."""

    flipped: bool
    """True where another word becomes the likeliest."""

    @property
    def above_null(self) -> bool:
        """True where the fall is larger than the random sets' median."""
        return self.drop > float(np.median(self.null))

    @property
    def above_all(self) -> bool:
        """True where the fall is larger than every random set's."""
        return self.drop > float(self.null.max())


def ablate_states(study: Study, mode: Mode, draws: int = 20, seed: int = 0) -> list[Ablation]:
    """Ablate each held-out prompt's own state features, and random sets in their place."""
    found = []
    for prompt in study.prompts:
        random = np.random.default_rng([seed, prompt["prompt_key"] % 2**64])
        active, activations = study.active[prompt["prompt_key"]]
        own = _indices(active, study.features.get(prompt["subject"], []), prompt["positions"] - 1)
        if not len(own):
            continue
        pool = MatchedSampler(active, activations, own)
        stand_ins = [pool.draw(random) for _ in range(draws)]
        sets = [own, *(stand_in.indices for stand_in in stand_ins)]
        base = BaseRun.of(study.model, [prompt["token_ids"]])
        features = torch.from_numpy(active)
        changes = InterventionBatch.ablating(base, [features[torch.from_numpy(indices)] for indices in sets])
        logits = torch.cat((base.logits, intervene_many(base, changes, mode).logits)).double()
        answer = study.capitals[prompt["subject"]]
        centred = (logits[:, answer] - logits.mean(1)).numpy()
        drops = centred[0] - centred[1:]
        flipped = int(logits[1].argmax()) != answer
        ratio = float(np.mean([stand_in.size_ratio for stand_in in stand_ins]))
        found.append(Ablation(prompt["id"], len(own), float(drops[0]), drops[1:], ratio, flipped))
    return found


@dataclass(frozen=True)
class Swap:
    """Effect on a prompt's answer of replacing its state by another."""

    id: str
    other: str
    """The state put in."""

    moved: dict[str, bool]
    """For each way of swapping, whether the answer became the other state's capital."""


def swap_states(study: Study, mode: Mode, seed: int = 0) -> list[Swap]:
    """Swap the state of each held-out prompt for another, drawn by chance."""
    random = np.random.default_rng(seed)
    ways = {
        "all layers": (range(study.model.n_layers), "last"),
        "early layers": (range(study.model.n_layers // 2), "last"),
        "city token": (range(study.model.n_layers), "city"),
        "mixed states": (range(study.model.n_layers), "last"),
    }
    found = []
    for prompt in study.prompts:
        others = sorted(set(study.features) - {prompt["subject"]})
        other = others[random.integers(len(others))]
        mixed = _mixed(study, other, prompt["subject"], random)
        rows = [
            _swapped(
                study,
                prompt,
                mixed if way == "mixed states" else study.features[other],
                layers,
                where,
            )
            for way, (layers, where) in ways.items()
        ]
        base = BaseRun.of(study.model, [prompt["token_ids"]])
        said = intervene_many(base, InterventionBatch.of(base, rows), mode).logits.argmax(1).tolist()
        moved = {way: token == study.capitals[other] for way, token in zip(ways, said, strict=True)}
        found.append(Swap(prompt["id"], other, moved))
    return found


def _swapped(
    study: Study, prompt: dict, put_in: Sequence[StateFeature], layers: range, where: str
) -> list[Intervention]:
    position = prompt["positions"] - 1 if where == "last" else _city_position(prompt["text"])
    own = study.features.get(prompt["subject"], [])
    gone = [Intervention(item.layer, position, item.feature, 0.0) for item in own if item.layer in layers]
    new = [
        Intervention(item.layer, position, item.feature, TIMES * item.activation)
        for item in put_in
        if item.layer in layers
    ]
    return gone + new


def _mixed(study: Study, other: str, own: str, random: np.random.Generator) -> list[StateFeature]:
    """Replace each of a state's features by one of the same layer that is selective for yet another."""
    mixed = []
    for wanted in study.features[other]:
        choices = [
            item
            for state, items in study.features.items()
            if state not in (other, own)
            for item in items
            if item.layer == wanted.layer
        ]
        mixed.append(choices[random.integers(len(choices))])
    return mixed


def _city_position(text: str) -> int:
    """Return where a two-hop prompt names its city; the opening special token is position 0."""
    words = text.split()
    return 1 + (words.index("containing") + 1 if "containing" in words else 0)


def _active(connection: duckdb.DuckDBPyConnection) -> dict[int, ActiveFeatures]:
    rows = connection.sql(ACTIVE).fetchnumpy()
    features = np.stack([rows[name] for name in ("layer", "position", "feature")], axis=1).astype(np.int64)
    keys, first = np.unique(rows["prompt_key"], return_index=True)
    parts = zip(
        np.split(features, first[1:]), np.split(rows["activation"].astype(float), first[1:]), strict=True
    )
    return dict(zip(keys.tolist(), parts, strict=True))


def _indices(
    active: Int[np.ndarray, "N 3"], features: Sequence[StateFeature], position: int
) -> Int[np.ndarray, " n"]:
    """Return the indices of a state's features among a prompt's active ones."""
    wanted = {(item.layer, position, item.feature) for item in features}
    return np.array([i for i, feature in enumerate(active.tolist()) if tuple(feature) in wanted], dtype=int)
