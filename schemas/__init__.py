"""The tables that Circuit Sweep writes, one module each, and the columns that several of them share.

`TABLES` are those of a sweep, `VALIDATION_TABLES` those of its validation, `PAIR_TABLES` of its pairs, in
the order in which people read them; `AGGREGATE_TABLES` are computed from many graphs (`CIRCUIT_TABLES` among
them, whose tests write `CIRCUIT_RUN_TABLES`), `DIFF_TABLES` from two sweeps, `NOTE_TABLES` written by people.
`FILES` belong to no output. `EVERY_TABLE` are all of them.
"""

from schemas.aggregates import (
    EDGE_ENRICHMENT,
    EDGE_STATS,
    FEATURE_ENRICHMENT,
    FEATURE_PAIRS,
    FEATURE_STATS,
    SUPERNODES,
)
from schemas.circuits import (
    CIRCUIT_EDGES,
    CIRCUIT_EFFECTS,
    CIRCUIT_NODES,
    CIRCUIT_SUPPORT,
    CIRCUIT_TESTS,
    CIRCUITS,
)
from schemas.differences import DIFF_CIRCUITS, DIFF_EDGES, DIFF_FEATURES, DIFF_MATCHES, DIFF_PROMPTS
from schemas.hypotheses import HYPOTHESIS_TABLES
from schemas.models import MODEL_TABLES
from schemas.node_columns import NODE_COLUMNS
from schemas.notes import GROUPS, LABELS, RUNS, VIEWS
from schemas.steering import STEERING
from schemas.sweep import ACTIVATIONS, EDGES, FAILURES, GRAPHS, HEAD_LOADINGS, NODES, QK, RECONSTRUCTION
from schemas.table import ROW_GROUP_ROWS, Table, column, list_of
from schemas.training import TRAINING
from schemas.validation import FAITHFULNESS, PAIR_EFFECTS, PAIRS, VALIDATIONS

FORMAT = 2
"""Version of the tables' columns. Raised when a column is renamed, removed or means something else; an output
of another format is refused by name. Version 0.1 wrote format 1."""

TABLES: dict[str, Table] = {
    table.name: table
    for table in (GRAPHS, NODES, EDGES, HEAD_LOADINGS, QK, ACTIVATIONS, RECONSTRUCTION, FAILURES)
}

VALIDATION_TABLES: dict[str, Table] = {table.name: table for table in (FAITHFULNESS, VALIDATIONS, FAILURES)}

CIRCUIT_TABLES: dict[str, Table] = {
    table.name: table for table in (CIRCUITS, CIRCUIT_NODES, CIRCUIT_EDGES, CIRCUIT_SUPPORT, CIRCUIT_TESTS)
}

CIRCUIT_RUN_TABLES: dict[str, Table] = {table.name: table for table in (CIRCUIT_EFFECTS, FAILURES)}

PAIR_TABLES: dict[str, Table] = {table.name: table for table in (PAIRS, PAIR_EFFECTS, FAILURES)}

AGGREGATE_TABLES: dict[str, Table] = {
    table.name: table
    for table in (FEATURE_STATS, EDGE_STATS, FEATURE_ENRICHMENT, EDGE_ENRICHMENT, FEATURE_PAIRS, SUPERNODES)
} | CIRCUIT_TABLES

DIFF_TABLES: dict[str, Table] = {
    table.name: table for table in (DIFF_PROMPTS, DIFF_FEATURES, DIFF_EDGES, DIFF_MATCHES, DIFF_CIRCUITS)
}

NOTE_TABLES: dict[str, Table] = {table.name: table for table in (LABELS, GROUPS, VIEWS, RUNS)}

FILES: dict[str, Table] = {table.name: table for table in (*HYPOTHESIS_TABLES.values(), STEERING, TRAINING)}

EVERY_TABLE: dict[str, Table] = (
    TABLES
    | VALIDATION_TABLES
    | PAIR_TABLES
    | AGGREGATE_TABLES
    | CIRCUIT_RUN_TABLES
    | DIFF_TABLES
    | NOTE_TABLES
    | FILES
    | MODEL_TABLES
)

__all__ = [
    "AGGREGATE_TABLES",
    "CIRCUIT_RUN_TABLES",
    "CIRCUIT_TABLES",
    "DIFF_TABLES",
    "EVERY_TABLE",
    "FORMAT",
    "HYPOTHESIS_TABLES",
    "MODEL_TABLES",
    "NODE_COLUMNS",
    "NOTE_TABLES",
    "PAIR_TABLES",
    "ROW_GROUP_ROWS",
    "STEERING",
    "TABLES",
    "TRAINING",
    "VALIDATION_TABLES",
    "Table",
    "column",
    "list_of",
]
