"""Where a sweep's validation lies: an output of its own inside the sweep's folder.

It has its own claim, markers and published versions, so that validating neither touches nor waits for the
sweep; in SQL its tables stand beside the sweep's.
"""

from __future__ import annotations

import duckdb

from pipeline.store import Output
from schemas import VALIDATION_TABLES

FOLDER = "validation"


class ValidationOutput(Output):
    """The output of a validation."""

    def __init__(self, sweep_url: str) -> None:
        super().__init__(f"{sweep_url}/{FOLDER}", VALIDATION_TABLES)
        self.sweep = Output(sweep_url)

    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """The sweep's tables with the validation's beside them; its failures as `validation_failures`."""
        connection = self.sweep.duckdb()
        for table in self.tables:
            name = f"{FOLDER}_{table}" if table == "failures" else table
            connection.register(name, self.dataset(table))
        return connection
