"""The sweep file: the YAML file that describes a sweep."""

from __future__ import annotations

from pipeline.configuration import ConfigurationFile
from pipeline.sweep.config import SweepConfig

SWEEP_FILE = ConfigurationFile(
    SweepConfig, "sweep", {("prompts",): "source", ("attribution", "targets"): "tokens", ("pairs",): "column"}
)

read_sweep_file, check, load_sweep_file = SWEEP_FILE.read, SWEEP_FILE.check, SWEEP_FILE.load
