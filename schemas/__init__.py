"""The tables that Circuit Sweep writes, one module each.

`TABLES` are those of a sweep, `VALIDATION_TABLES` those of its validation, in the order in which people
read them; `STEERING` is a file of its own.
"""

from schemas.activations import ACTIVATIONS
from schemas.edges import EDGES
from schemas.failures import FAILURES
from schemas.faithfulness import FAITHFULNESS
from schemas.graphs import GRAPHS
from schemas.nodes import NODES
from schemas.steering import STEERING
from schemas.table import ROW_GROUP_ROWS, Table, column, list_of
from schemas.validations import VALIDATIONS

TABLES: dict[str, Table] = {table.name: table for table in (GRAPHS, NODES, EDGES, ACTIVATIONS, FAILURES)}

VALIDATION_TABLES: dict[str, Table] = {table.name: table for table in (FAITHFULNESS, VALIDATIONS, FAILURES)}

__all__ = ["ROW_GROUP_ROWS", "STEERING", "TABLES", "VALIDATION_TABLES", "Table", "column", "list_of"]
