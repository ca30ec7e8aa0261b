"""Reports of a validation: medians of each group of prompts, what they are compared with, and sentences."""

from pipeline.validation.report.groups import Compared, Gain, GroupReport, Measured, Median, group_reports
from pipeline.validation.report.measures import COMPETITORS, LEVEL, MEASURES, RANKS
from pipeline.validation.report.reading import (
    HIGH,
    Disagreement,
    disagreements,
    necessity_q_values,
    numbers,
    read_faithfulness,
)
from pipeline.validation.report.rows import as_rows
from pipeline.validation.report.sentences import sentences

__all__ = [
    "COMPETITORS",
    "HIGH",
    "LEVEL",
    "MEASURES",
    "RANKS",
    "Compared",
    "Disagreement",
    "Gain",
    "GroupReport",
    "Measured",
    "Median",
    "as_rows",
    "disagreements",
    "group_reports",
    "necessity_q_values",
    "numbers",
    "read_faithfulness",
    "sentences",
]
