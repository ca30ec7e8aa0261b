"""The notes that people write beside a sweep's tables."""

from schemas.notes.groups import GROUPS
from schemas.notes.labels import LABELS
from schemas.notes.runs import RUNS
from schemas.notes.views import VIEWS

__all__ = ["GROUPS", "LABELS", "RUNS", "VIEWS"]
