"""All tests of one graph, as rows of `validations` and `faithfulness`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

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
    plan_tests,
)
from pipeline.validation.faithfulness.effects import Effects, OutputMetrics
from pipeline.validation.faithfulness.feature_effects import SourceTest, ablate_sources, sources_to_test
from pipeline.validation.faithfulness.sampling import stratified
from pipeline.validation.faithfulness.simple_rankings import simple_rankings, write_norms
from pipeline.validation.statistics import partial_spearman, pearson_of_logs, spearman

MODES = {"default": DEFAULT, "open": OPEN, "replacement": REPLACEMENT}

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
    metrics = OutputMetrics.of(base, circuit)
    singles = stratified(circuit.influence, config.ablations, random)
    sizes = write_norms(base, circuit.active, circuit.active_activations)
    plans = plan_tests(circuit, sizes, config.draws, config.top, random)
    live = _run(base, metrics, circuit, singles, plans[:-1], config.mode)
    replacement = _run(base, metrics, circuit, singles, plans, "replacement")
    candidates = sources_to_test(circuit, model.n_layers)
    sources = candidates[stratified(circuit.influence[candidates], config.sources, random)]
    source_tests = ablate_sources(base, circuit, sources)
    clean, rankings = metrics.observe_clean(), simple_rankings(base, metrics, circuit)
    runs = (live, replacement)
    return GraphValidation(
        validations=[
            *(_single_row(circuit, run, number, i) for run in runs for number, i in enumerate(singles)),
            *(_source_row(circuit, number, test) for number, test in enumerate(source_tests)),
            *(row for run in runs for row in _set_rows(run)),
        ],
        faithfulness={
            "target_kind": metrics.targets[0].kind,
            "target": metrics.answer,
            "rival": metrics.rival,
            "circuit_features": len(circuit.features),
            "active_features": len(circuit.active),
            "log_probability": float(clean[2]),
            "log_probability_ablated": float(live.ablated.log_probability[0]),
            "value": live.baselines.clean,
            "value_ablated": live.baselines.ablated,
            "stake": live.baselines.stake,
            "is_at_stake": live.baselines.is_at_stake,
            "replacement_stake": replacement.baselines.stake,
            "replacement_stake_without_errors": replacement.sets[-1].baselines.stake,
            **_correlations(circuit.influence[singles], live.singles),
            **_comparisons(circuit, rankings, singles, live.singles),
            "replacement_spearman": spearman(circuit.influence[singles], replacement.singles.effect),
            **_pair_correlations(source_tests),
            **faithfulness_columns(live.sets),
            **faithfulness_columns(replacement.sets, "replacement_"),
            "draws": config.draws,
            "null_size_ratio": float(np.mean([drawn.size_ratio for drawn in plans[0].stand_ins])),
            "interventions": live.rows + replacement.rows + len(sources),
            "seconds": time.perf_counter() - started,
        },
    )


@dataclass(frozen=True)
class Run:
    """All tests that share a mode."""

    mode: str
    """`default` or `open` for the live run, or `replacement`."""

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
    numbers: dict[str, int] = {}
    rows = []
    for result in run.sets:
        name = result.test.test
        numbers[name] = numbers.get(name, -1) + 1
        stand_ins = result.test.stand_ins
        rows.append(
            {
                "test": name,
                "number": numbers[name],
                "mode": run.mode,
                "features": len(result.test.ablated[0]),
                **result.effects.row(0),
                "draws": len(stand_ins),
                "matched": float(np.mean([s.matched for s in stand_ins])),
                "size_ratio": float(np.mean([s.size_ratio for s in stand_ins])),
                "rank": result.rank,
                "null_values": result.null.tolist(),
            }
        )
    return rows


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
