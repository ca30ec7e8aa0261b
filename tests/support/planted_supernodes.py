"""An output with planted supernodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.store.output import Output
from tests.support.outputs import altered

GROUPS, SIZE, ALONE = 4, 6, 10
"""Planted supernodes, their features, and features that are active anywhere."""


def planted(output: Output, url: Path) -> Output:
    """The prompts of an output, with features that go by family, and edges to a target of their own."""
    random = np.random.default_rng(0)

    def rows(prompt: dict) -> tuple[list[dict], list[dict]]:
        family = "abcd".index(prompt["family"])
        features = [family * SIZE + i for i in range(SIZE) if random.random() < 0.9]
        features += [GROUPS * SIZE + i for i in range(ALONE) if random.random() < 0.3]
        key = {"prompt_key": prompt["prompt_key"], "id": prompt["id"]}
        place = {"layer": 1, "position": 2, "position_from_end": 5}
        active = [key | place | {"feature": f, "activation": 1 + random.random()} for f in features]
        ends = {"source_kind": "feature", "source_layer": 1, "source_position": 2, "target_kind": "logit"}
        ends |= {"target_layer": 4, "target_position": 7}
        number = {f: family if f < GROUPS * SIZE else 100 + f for f in features}
        edges = [
            key
            | ends
            | {
                "source_feature": f,
                "target_token_id": number[f],
                "weight": 1.0,
                "influence": 0.1,
                "stability": 1.0,
            }
            for f in features
        ]
        return active, edges

    def alter(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
        made = [rows(prompt) for prompt in tables["graphs"].to_pylist()]
        active, edges = ([row for part in parts for row in part] for parts in zip(*made, strict=True))
        nodes = [
            row | {"kind": "feature", "influence": 0.1, "cumulative_influence": 0.5, "stability": 1.0}
            for row in active
        ]
        values = {"activations": active, "nodes": nodes, "edges": edges}
        schemas = {name: tables[name].schema for name in values}
        return tables | {n: pa.Table.from_pylist(v, schema=schemas[n]) for n, v in values.items()}

    return altered(output, url, alter)
