"""The table `training` of a dictionary: its figures by layer, for queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from pipeline.training.report.layer_metrics import LayerMetrics
from pipeline.training.report.measure import DictionaryMetrics
from schemas import TRAINING


def training_table(metrics: DictionaryMetrics) -> pa.Table:
    """Return one row a layer and measurement."""
    names = TRAINING.schema.names
    rows = [{name: row.get(name) for name in names} for row in _rows(metrics)]
    return pa.Table.from_pylist(rows, schema=TRAINING.schema)


def _rows(metrics: DictionaryMetrics) -> Iterator[dict[str, Any]]:
    for layer in metrics.start or ():
        yield _measured(metrics, "start", layer)
    if metrics.finish is not None:
        for layer in metrics.finish.layers:
            ce = {"ce": metrics.finish.model.ce_layers[layer.layer]}
            yield _measured(metrics, "trained", layer) | ce
    facts = {each.layer: asdict(each) for each in metrics.training.layers} if metrics.training else {}
    agreement = {each.layer: each for each in metrics.against.layers} if metrics.against else {}
    for layer in metrics.layers:
        found = agreement.get(layer.layer)
        moved = {} if metrics.finish is None else {"moved": metrics.finish.moved[layer.layer]}
        yield (
            _measured(metrics, "trained" if metrics.finish is None else "finished", layer)
            | moved
            | facts.get(layer.layer, {})
            | {"ce": metrics.model.ce_layers[layer.layer]}
            | ({} if found is None else {"shared": found.shared, "shared_random": found.random})
        )


def _measured(metrics: DictionaryMetrics, measured: str, layer: LayerMetrics) -> dict[str, Any]:
    config = metrics.config
    return asdict(layer) | {
        "measured": measured,
        "held_out_tokens": layer.rows,
        "kind": config["kind"],
        "features": config["features"],
        "k": config["k"],
        "seed": config["seed"],
    }
