"""`feature_stats`: how each feature behaves over a group of prompts; `circuit-sweep aggregate` writes it.

Activations do not depend on what a graph explains: the same tokens under several targets count once in all
columns but `prompts_kept` and `influence_mean`, which are of graphs.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.prompt_groups import grouped_by, prompt_group
from schemas.table import Table, column


def _activation(name: str, meaning: str) -> pa.Field:
    return column(f"activation_{name}", pa.float64(), meaning, "activation units")


FEATURE_STATS = Table(
    name="feature_stats",
    row="a feature over the prompts of a group",
    key=("prompt_group", "layer", "feature"),
    schema=pa.schema(
        [
            prompt_group(),
            column("layer", pa.int16(), "Layer of the feature", "index"),
            column("feature", pa.int32(), "Feature index in the layer's transcoder", "index"),
            column(
                "prompts_active",
                pa.int64(),
                "Prompts on which it is active at any position; the same tokens count once",
                "prompts",
            ),
            column("prompts_kept", pa.int64(), "Prompts whose pruned graph holds it", "prompts"),
            column("activations", pa.int64(), "Positions of these at which it is active", "positions"),
            _activation("mean", "Mean over the positions at which it is active"),
            _activation("sd", "Standard deviation over these positions"),
            _activation("p10", "10% of the positions lie at or below; within 1% of its value"),
            _activation("p50", "Half of the positions lie at or below; within 1% of its value"),
            _activation("p90", "90% of the positions lie at or below; within 1% of its value"),
            _activation("max", "Largest over these positions"),
            column(
                "influence_mean",
                pa.float64(),
                "Influence summed over the prompt's kept positions, mean over the prompts that keep it",
                "probability",
                nullable=True,
            ),
            column(
                "from_end_mean",
                pa.float64(),
                "Mean distance of its positions from the prompt's last, which is 0",
                "tokens",
            ),
            column("at_end_share", pa.float64(), "Share of its positions that are a prompt's last", "share"),
            grouped_by(),
        ]
    ),
)
