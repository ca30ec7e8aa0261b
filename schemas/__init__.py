"""The tables that Circuit Sweep writes, one module each.

`TABLES` are those of a sweep, `VALIDATION_TABLES` those of its validation, in the order in which people
read them, `AGGREGATE_TABLES` those computed from them,
`DIFF_TABLES` how two of them differ; `STEERING` is a file of its own.
"""

from schemas.activations import ACTIVATIONS
from schemas.differences import DIFF_CIRCUITS, DIFF_EDGES, DIFF_FEATURES, DIFF_MATCHES, DIFF_PROMPTS
from schemas.edge_stats import EDGE_STATS
from schemas.edges import EDGES
from schemas.enrichment import EDGE_ENRICHMENT, FEATURE_ENRICHMENT
from schemas.failures import FAILURES
from schemas.faithfulness import FAITHFULNESS
from schemas.feature_pairs import FEATURE_PAIRS
from schemas.feature_stats import FEATURE_STATS
from schemas.graphs import GRAPHS
from schemas.node_columns import NODE_COLUMNS
from schemas.nodes import NODES
from schemas.steering import STEERING
from schemas.supernodes import SUPERNODES
from schemas.table import ROW_GROUP_ROWS, Table, column, list_of
from schemas.validations import VALIDATIONS

FORMAT = 2
"""Version of the tables' columns. Raised when a column is renamed, removed or means something else; an output
of another format is refused by name. Version 0.1 wrote format 1."""

TABLES: dict[str, Table] = {table.name: table for table in (GRAPHS, NODES, EDGES, ACTIVATIONS, FAILURES)}

VALIDATION_TABLES: dict[str, Table] = {table.name: table for table in (FAITHFULNESS, VALIDATIONS, FAILURES)}

AGGREGATE_TABLES: dict[str, Table] = {
    table.name: table
    for table in (FEATURE_STATS, EDGE_STATS, FEATURE_ENRICHMENT, EDGE_ENRICHMENT, FEATURE_PAIRS, SUPERNODES)
}

DIFF_TABLES: dict[str, Table] = {
    table.name: table for table in (DIFF_PROMPTS, DIFF_FEATURES, DIFF_EDGES, DIFF_MATCHES, DIFF_CIRCUITS)
}

__all__ = [
    "AGGREGATE_TABLES",
    "DIFF_TABLES",
    "FORMAT",
    "NODE_COLUMNS",
    "ROW_GROUP_ROWS",
    "STEERING",
    "TABLES",
    "VALIDATION_TABLES",
    "Table",
    "column",
    "list_of",
]
