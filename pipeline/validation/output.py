"""The output of a sweep's validation, inside the sweep's folder.

It has its own claim, markers and published versions, so that validating neither touches nor waits for the
sweep; `Results` of the sweep show its tables beside the sweep's.
"""

from __future__ import annotations

from pipeline.store import Output
from schemas import VALIDATION_TABLES

VALIDATION = "validation"
"""Folder inside the sweep's output."""


class ValidationOutput(Output):
    """The output of a validation."""

    def __init__(self, sweep_url: str) -> None:
        super().__init__(f"{sweep_url.rstrip('/')}/{VALIDATION}", VALIDATION_TABLES)
        self.sweep = Output(sweep_url)
