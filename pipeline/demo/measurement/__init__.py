"""Quality of the built-in files, as the card reports it."""

from pipeline.demo.measurement.measure import Measurements, load_files, measure, trace

__all__ = [
    "Measurements",
    "load_files",
    "measure",
    "trace",
]
