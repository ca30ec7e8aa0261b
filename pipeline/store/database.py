"""DuckDB as everything here opens it: in memory, and never fetching code.

By default DuckDB downloads an extension, native code, as soon as a query names what only that can read (an
`https://` or `s3://` file, a spreadsheet). Here such a query fails and names the extension; whoever trusts it
writes `install` and `load` before the query.
"""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

CLOSED = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}


def open_database(settings: Mapping[str, bool | int] | None = None) -> duckdb.DuckDBPyConnection:
    """Open an empty database in memory, with further settings of DuckDB's."""
    return duckdb.connect(config={**CLOSED, **(settings or {})})
