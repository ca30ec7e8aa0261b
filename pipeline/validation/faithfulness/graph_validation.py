"""All tests of one graph, as rows of `validations` and `faithfulness`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pipeline.intervention import DEFAULT, OPEN, BaseRun, InterventionBatch
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
from pipeline.validation.statistics import pearson_of_logs, spearman

MODES = {"default": DEFAULT, "open": OPEN}

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
    plans = plan_tests(circuit, config.draws, config.top, random)
    ablated, by_one, results = _run(base, metrics, circuit, singles, plans, config)
    candidates = sources_to_test(circuit, model.n_layers)
    sources = candidates[stratified(circuit.influence[candidates], config.sources, random)]
    source_tests = ablate_sources(base, circuit, sources)
    clean, baselines = metrics.observe_clean(), _baselines(metrics, ablated)
    n_rows = 1 + len(singles) + sum(len(plan.ablated) for plan in plans) + len(sources)
    return GraphValidation(
        validations=[
            *(_single_row(circuit, config, by_one, number, i) for number, i in enumerate(singles)),
            *(_source_row(circuit, number, test) for number, test in enumerate(source_tests)),
            *_set_rows(config, baselines, results),
        ],
        faithfulness={
            "target_kind": metrics.targets[0].kind,
            "target": metrics.answer,
            "rival": metrics.rival,
            "circuit_features": len(circuit.features),
            "active_features": len(circuit.active),
            "log_probability": float(clean[2]),
            "log_probability_ablated": float(ablated.log_probability[0]),
            "value": baselines.clean,
            "value_ablated": baselines.ablated,
            "stake": baselines.stake,
            "is_at_stake": baselines.is_at_stake,
            **_correlations(circuit.influence[singles], by_one),
            **_pair_correlations(source_tests),
            **faithfulness_columns(baselines, results),
            "draws": config.draws,
            "interventions": n_rows,
            "seconds": time.perf_counter() - started,
        },
    )


def _run(
    base: BaseRun,
    metrics: OutputMetrics,
    circuit: Circuit,
    singles: np.ndarray,
    plans: list[SetTest],
    config: ValidationConfig,
) -> tuple[Effects, Effects, list[SetResult]]:
    """Run everything that shares a mode as one batch: all features gone, single ones, the sets."""
    active, features = torch.from_numpy(circuit.active), torch.from_numpy(circuit.features)
    sets = [active, *(features[i][None] for i in singles)]
    without_errors = [False] * len(sets)
    for plan in plans:
        sets += [active[torch.from_numpy(indices)] for indices in plan.ablated]
        without_errors += [plan.without_errors] * len(plan.ablated)
    changes = InterventionBatch.ablating(base, sets, without_errors)
    found = metrics.run(base, changes, MODES[config.mode])
    ends = np.cumsum([1, len(singles), *(len(plan.ablated) for plan in plans)])
    ablated, by_one, *of_plans = (
        Effects(*(values[start:end] for values in vars(found).values()))
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    )
    return ablated, by_one, [SetResult(plan, part) for plan, part in zip(plans, of_plans, strict=True)]


def _baselines(metrics: OutputMetrics, ablated: Effects) -> Baselines:
    clean = float(metrics.observe_clean()[3])
    is_feature = metrics.targets[0].kind == "feature"
    least = LEAST_SHARE * abs(clean) if is_feature else LEAST_LOGITS
    return Baselines(clean, float(ablated.value[0]), least)


def _single_row(circuit: Circuit, config: ValidationConfig, effects: Effects, number: int, i: int) -> Row:
    return {
        "test": "node_ablation",
        "number": number,
        "mode": config.mode,
        **_named(circuit, i),
        **effects.row(number),
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


def _set_rows(config: ValidationConfig, baselines: Baselines, results: list[SetResult]) -> list[Row]:
    numbers: dict[str, int] = {}
    rows = []
    for result in results:
        name = result.test.test
        numbers[name] = numbers.get(name, -1) + 1
        stand_ins = result.test.stand_ins
        rows.append(
            {
                "test": name,
                "number": numbers[name],
                "mode": config.mode,
                "features": len(result.test.ablated[0]),
                **result.effects.row(0),
                "draws": len(stand_ins),
                "matched": float(np.mean([s.matched for s in stand_ins])),
                "size_ratio": float(np.mean([s.size_ratio for s in stand_ins])),
                "rank": result.rank(baselines),
                "null_values": result.effects.value[1:].tolist(),
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
    }
