"""How a dictionary is trained: scales, first weights, sparsity, schedule, optimiser; one layer at a time."""

from pipeline.training.recipe.layer import TrainedLayer
from pipeline.training.recipe.normalisation import Moments, MomentSums, Normalisation, NormalisationSums
from pipeline.training.recipe.schedule import Schedule
from pipeline.training.recipe.selection import kth_largest
from pipeline.training.recipe.sparsity import Code, Seen
from pipeline.training.recipe.weights import LayerWeights, first_weights, writes_of

__all__ = [
    "Code",
    "LayerWeights",
    "MomentSums",
    "Moments",
    "Normalisation",
    "NormalisationSums",
    "Schedule",
    "Seen",
    "TrainedLayer",
    "first_weights",
    "kth_largest",
    "writes_of",
]
