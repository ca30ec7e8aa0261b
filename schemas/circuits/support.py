"""`circuit_support`: which prompts use which circuit, by their graphs."""

from __future__ import annotations

import pyarrow as pa

from schemas.circuits.columns import SHARE, circuit
from schemas.node_columns import prompt_id, prompt_key
from schemas.prompt_groups import grouped_by, prompt_group
from schemas.table import Table, column

CIRCUIT_SUPPORT = Table(
    name="circuit_support",
    row="a prompt whose graph holds edges of a circuit",
    key=("circuit", "prompt_key"),
    schema=pa.schema(
        [
            circuit(),
            prompt_key(),
            prompt_id(),
            prompt_group(),
            column("half", pa.string(), "discovery or test: a cluster of prompts is in one of them", "name"),
            column(
                "overlap", pa.float64(), "Shares of the circuit's edges that its graph holds, over all", SHARE
            ),
            column(
                "share",
                pa.float64(),
                "Share of the influence on the prompt's target that comes in over the circuit's edges",
                SHARE,
            ),
            column("is_used", pa.bool_(), "True if `overlap` is at least 0.5", "yes or no"),
            grouped_by(),
        ]
    ),
)
