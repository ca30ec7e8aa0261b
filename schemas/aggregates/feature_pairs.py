"""`feature_pairs`: which features are active at the same positions, and what one does to the other there.

`circuit-sweep aggregate OUTPUT --of pairs` writes it. Source and target are ordered by layer, then index;
only a source on a lower layer has a direct effect on its target, so weights are null within a layer.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.prompt_groups import grouped_by
from schemas.table import Table, column


def _end(name: str) -> list[pa.Field]:
    return [
        column(f"{name}_layer", pa.int16(), f"Layer of the {name}", "index"),
        column(f"{name}_feature", pa.int32(), f"Feature index of the {name}", "index"),
    ]


_WEIGHT = "target's pre-activation at a read norm of 1, per activation unit"

FEATURE_PAIRS = Table(
    name="feature_pairs",
    row="two features that are active at the same positions",
    key=("source_layer", "source_feature", "target_layer", "target_feature"),
    schema=pa.schema(
        [
            *_end("source"),
            *_end("target"),
            column("n_coactive", pa.int64(), "Positions at which both are active", "positions"),
            column("source_active", pa.int64(), "Positions at which the source is active", "positions"),
            column("target_active", pa.int64(), "Positions at which the target is active", "positions"),
            column("jaccard", pa.float64(), "Positions of both over positions of either", "share, 0 to 1"),
            column(
                "npmi",
                pa.float64(),
                "Normalised pointwise mutual information over the positions that can carry features: 1 "
                "always together, 0 independent",
                "-1 to 1",
            ),
            column(
                "source_given_target",
                pa.float64(),
                "E[a_t a_s] / E[a_t]: mean of the source's activation, positions weighted by the target's",
                "activation units",
            ),
            column(
                "virtual_weight",
                pa.float64(),
                "Direct effect through the residual stream at one position, by the dictionary alone",
                _WEIGHT,
                nullable=True,
            ),
            column(
                "twera",
                pa.float64(),
                "E[a_t a_s] / E[a_t] times the virtual weight: the target-weighted expected effect",
                "target's pre-activation at a read norm of 1",
                nullable=True,
            ),
            grouped_by(),
        ]
    ),
)
