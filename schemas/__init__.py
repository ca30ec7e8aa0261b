"""The five tables of a sweep, one module each. `TABLES` lists them in the order in which people read them."""

from schemas.activations import ACTIVATIONS
from schemas.edges import EDGES
from schemas.failures import FAILURES
from schemas.graphs import GRAPHS
from schemas.nodes import NODES
from schemas.table import ROW_GROUP_ROWS, Table, column, list_of

TABLES: dict[str, Table] = {table.name: table for table in (GRAPHS, NODES, EDGES, ACTIVATIONS, FAILURES)}

__all__ = ["ROW_GROUP_ROWS", "TABLES", "Table", "column", "list_of"]
