"""Estimates of a sweep's cost before it runs, and of the block size that a device's memory allows."""

from pipeline.planning.block_size import LEAST_BLOCK_PAIRS, BlockPlanner
from pipeline.planning.estimate import Estimate, ratio_estimate
from pipeline.planning.forecast import Forecast, Setting, forecast
from pipeline.planning.memory import PromptBytes, prompt_bytes
from pipeline.planning.sample import Reservoir, Sample, draw
from pipeline.planning.sizes import ModelSizes, PromptSizes

__all__ = [
    "LEAST_BLOCK_PAIRS",
    "BlockPlanner",
    "Estimate",
    "Forecast",
    "ModelSizes",
    "PromptBytes",
    "PromptSizes",
    "Reservoir",
    "Sample",
    "Setting",
    "draw",
    "forecast",
    "prompt_bytes",
    "ratio_estimate",
]
