"""The cost of training a dictionary, before anything starts: memory, groups, GPUs, hours, files."""

from pipeline.training.planning.cost import Cost, Gpu, Group, TrainedModel, cost_of, layer_groups
from pipeline.training.planning.shape import DictionaryShape, Kind

__all__ = ["Cost", "DictionaryShape", "Gpu", "Group", "Kind", "TrainedModel", "cost_of", "layer_groups"]
