"""All tests of one graph, as rows of `validations` and `faithfulness`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from pipeline.intervention import DEFAULT, OPEN, REPLACEMENT, BaseRun, InterventionBatch
from pipeline.model import ReplacementModel, TracedTokens
from pipeline.validation.config import ValidationConfig
from pipeline.validation.faithfulness.circuit import Circuit
from pipeline.validation.faithfulness.circuit_tests import (
    LEAST_LOGITS,
    LEAST_SHARE,
    Baselines,
    SetResult,
    SetTest,
    faithfulness_columns,
    free_tests,
    plan_tests,
)
from pipeline.validation.faithfulness.effects import Effects, OutputMetrics
from pipeline.validation.faithfulness.feature_effects import SourceTest, ablate_sources, sources_to_test
from pipeline.validation.faithfulness.sampling import EqualSet, stratified
from pipeline.validation.faithfulness.simple_rankings import gradient_scores, simple_rankings, write_norms
from pipeline.validation.statistics import partial_spearman, pearson_of_logs, spearman

MODES = {"default": DEFAULT, "open": OPEN, "replacement": REPLACEMENT}

CANDIDATES = 256
"""Active features, those of the largest gradient, that the worst case may be made of where there are more."""

Row = dict[str, Any]


@dataclass(frozen=True)
class GraphValidation:
    """Rows that the tests of one graph give."""

    validations: list[Row]
    """Rows of `validations`, without the prompt's key."""

    faithfulness: Row
    """The row of `faithfulness`, without what names the prompt and the run."""


def validate_graph(
    model: ReplacementModel, circuit: Circuit, config: ValidationConfig, random: np.random.Generator
) -> GraphValidation:
    """Test one graph."""
    started = time.perf_counter()
    base = BaseRun.of(model, [TracedTokens(circuit.token_ids)])
    metrics = OutputMetrics.of(base, circuit.targets, circuit.partner)
    singles = stratified(circuit.influence, config.ablations, random)
    sizes = write_norms(model, circuit.active, circuit.active_activations)
    losses, n_candidates = _single_losses(base, metrics, circuit)
    plans = plan_tests(circuit, sizes, losses, config.draws, config.top, random)
    runs = {
        "": _run(base, metrics, circuit, singles, plans[:-1], "default"),
        "free_": _run(base, metrics, circuit, singles, free_tests(plans), "open"),
        "replacement_": _run(base, metrics, circuit, singles, plans, "replacement"),
    }
    candidates = sources_to_test(circuit, model.n_layers)
    sources = candidates[stratified(circuit.influence[candidates], config.sources, random)]
    source_tests = ablate_sources(base, circuit, sources)
    influence = circuit.influence[singles]
    return GraphValidation(
        validations=[
            *(_single_row(circuit, run, n, i) for run in runs.values() for n, i in enumerate(singles)),
            *(_source_row(circuit, number, test) for number, test in enumerate(source_tests)),
            *(row for run in runs.values() for row in _set_rows(run)),
        ],
        faithfulness={
            **_subject(circuit, metrics),
            **_stakes(metrics, runs),
            **_correlations(influence, runs[""].singles),
            **_comparisons(circuit, simple_rankings(base, metrics, circuit), singles, runs[""].singles),
            "free_spearman": spearman(influence, runs["free_"].singles.effect),
            "replacement_spearman": spearman(influence, runs["replacement_"].singles.effect),
            **_pair_correlations(source_tests),
            **_set_columns(runs),
            "draws": config.draws,
            "null_size_ratio": _mean_ratio(plans[0].sets.matched),
            "active_null_size_ratio": _mean_ratio(plans[0].sets.active),
            "worst_size_ratio": plans[0].sets.worst.size_ratio,
            "interventions": sum(run.rows for run in runs.values()) + len(sources) + n_candidates,
            "seconds": time.perf_counter() - started,
        },
    )


def _single_losses(
    base: BaseRun, metrics: OutputMetrics, circuit: Circuit
) -> tuple[Float[np.ndarray, " N"], int]:
    """Return what ablating each active feature alone costs, in the live run, and how many were tried."""
    losses = np.full(len(circuit.active), -np.inf)
    tried = np.arange(len(circuit.active))
    if len(tried) > CANDIDATES:
        scores = gradient_scores(base, metrics, circuit.active, circuit.active_activations)
        tried = np.sort(np.argsort(-scores, kind="stable")[:CANDIDATES])
    features = torch.from_numpy(circuit.active[tried])
    changes = InterventionBatch.ablating(base, [*features[:, None], torch.from_numpy(circuit.active)])
    *singly, everything = metrics.run(base, changes, DEFAULT).value
    clean = float(metrics.observe_clean()[3])
    losses[tried] = (clean - np.array(singly)) * (1 if clean >= everything else -1)
    return losses, len(tried) + 1


@dataclass(frozen=True)
class Run:
    """All tests that share a mode."""

    mode: str
    """`default` (patterns held) or `open` (patterns free) for a live run, or `replacement`."""

    ablated: Effects
    """Of every active feature at 0; in the second row the errors are gone too."""

    singles: Effects
    """Of single kept features."""

    baselines: Baselines
    sets: list[SetResult]
    rows: int
    """Rows of interventions."""


def _run(
    base: BaseRun,
    metrics: OutputMetrics,
    circuit: Circuit,
    singles: np.ndarray,
    plans: list[SetTest],
    mode: str,
) -> Run:
    """Run everything that shares a mode as one batch: all features gone, single ones, the sets."""
    active, features = torch.from_numpy(circuit.active), torch.from_numpy(circuit.features)
    sets = [active, active, *(features[i][None] for i in singles)]
    without_errors = [False, True] + [False] * len(singles)
    for plan in plans:
        sets += [active[torch.from_numpy(indices)] for indices in plan.ablated]
        without_errors += [plan.without_errors] * len(plan.ablated)
    found = metrics.run(base, InterventionBatch.ablating(base, sets, without_errors), MODES[mode])
    ends = np.cumsum([2, len(singles), *(len(plan.ablated) for plan in plans)])
    ablated, by_one, *of_plans = (
        Effects(*(values[start:end] for values in vars(found).values()))
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    )
    baselines, bare = (_baselines(metrics, float(value)) for value in ablated.value)
    results = [
        SetResult(plan, bare if plan.without_errors else baselines, part)
        for plan, part in zip(plans, of_plans, strict=True)
    ]
    return Run(mode, ablated, by_one, baselines, results, len(sets))


def _baselines(metrics: OutputMetrics, ablated: float) -> Baselines:
    clean = float(metrics.observe_clean()[3])
    is_feature = metrics.targets[0].kind == "feature"
    return Baselines(clean, ablated, LEAST_SHARE * abs(clean) if is_feature else LEAST_LOGITS)


def _subject(circuit: Circuit, metrics: OutputMetrics) -> Row:
    first, rival = metrics.targets[0], metrics.rival
    of_token = "partner" if rival == metrics.partner else "runner-up"
    rival_kind = of_token if first.kind == "token" else first.kind
    return {
        "target_kind": first.kind,
        "target": metrics.answer,
        "rival": rival,
        "rival_kind": None if rival is None else rival_kind,
        "circuit_features": len(circuit.features),
        "active_features": len(circuit.active),
    }


def _stakes(metrics: OutputMetrics, runs: dict[str, Run]) -> Row:
    held, replacement = runs[""], runs["replacement_"]
    return {
        "log_probability": float(metrics.observe_clean()[2]),
        "log_probability_ablated": float(held.ablated.log_probability[0]),
        "value": held.baselines.clean,
        "value_ablated": held.baselines.ablated,
        "stake": held.baselines.stake,
        "is_at_stake": held.baselines.is_at_stake,
        "free_stake": runs["free_"].baselines.stake,
        "replacement_stake": replacement.baselines.stake,
        "replacement_stake_without_errors": replacement.sets[-1].baselines.stake,
    }


def _set_columns(runs: dict[str, Run]) -> Row:
    row: Row = {}
    for prefix, run in runs.items():
        row |= faithfulness_columns(run.sets, prefix, ranked=run.mode != "open")
    return row


def _mean_ratio(sets: Sequence[EqualSet]) -> float:
    return float(np.mean([drawn.size_ratio for drawn in sets]))


def _single_row(circuit: Circuit, run: Run, number: int, i: int) -> Row:
    return {
        "test": "node_ablation",
        "number": number,
        "mode": run.mode,
        **_named(circuit, i),
        **run.singles.row(number),
    }


def _source_row(circuit: Circuit, number: int, test: SourceTest) -> Row:
    return {
        "test": "feature_to_feature",
        "number": number,
        "mode": "constrained",
        **_named(circuit, test.source),
        "range_start": test.layers.start,
        "range_stop": test.layers.stop,
        "pairs": len(test.predicted),
        "spearman": test.spearman,
    }


def _named(circuit: Circuit, feature: int) -> Row:
    layer, position, index = circuit.features[feature].tolist()
    return {
        "layer": layer,
        "position": position,
        "feature": index,
        "activation": float(circuit.activations[feature]),
        "influence": float(circuit.influence[feature]),
        "features": 1,
    }


def _set_rows(run: Run) -> list[Row]:
    return [
        {
            "test": result.test.name,
            "number": 0,
            "mode": run.mode,
            "features": len(result.test.ablated[0]),
            **result.effects.row(0),
            "draws": len(result.test.sets.matched),
            "matched": float(np.mean([drawn.matched for drawn in result.test.sets.matched])),
            "size_ratio": _mean_ratio(result.test.sets.matched),
            "rank": result.rank,
            "null_values": result.values("matched").tolist(),
            "active_null_values": result.values("active").tolist(),
        }
        for result in run.sets
    ]


def _correlations(influence: np.ndarray, effects: Effects) -> Row:
    return {
        "ablations": len(influence),
        "spearman": spearman(influence, effects.effect),
        "pearson": pearson_of_logs(influence, effects.effect),
        "spearman_divergence": spearman(influence, effects.divergence),
        "pearson_divergence": pearson_of_logs(influence, effects.divergence),
    }


def _comparisons(
    circuit: Circuit, rankings: dict[str, np.ndarray], singles: np.ndarray, effects: Effects
) -> Row:
    """Return how well simpler rankings do at what influence is for, and what influence adds to each."""
    row: Row = {}
    for name, scores in rankings.items():
        row[f"spearman_{name}"] = spearman(scores[singles], effects.effect)
        row[f"spearman_beside_{name}"] = partial_spearman(
            circuit.influence[singles], effects.effect, scores[singles]
        )
    return row


def _pair_correlations(tests: list[SourceTest]) -> Row:
    nothing = np.zeros(0)
    predicted = np.concatenate([nothing, *(test.predicted for test in tests)])
    observed = np.concatenate([nothing, *(test.observed for test in tests)])
    knock_on = np.concatenate([nothing, *(test.knock_on for test in tests)]).astype(bool)
    return {
        "pairs": len(predicted),
        "pair_spearman": spearman(predicted, observed),
        "knock_on_pairs": int(knock_on.sum()),
        "knock_on_spearman": spearman(predicted[knock_on], observed[knock_on]),
        "knock_on_size_spearman": spearman(np.abs(predicted[knock_on]), np.abs(observed[knock_on])),
    }
