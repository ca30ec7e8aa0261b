"""A Hugging Face causal language model as a frozen linear model; one small description per family."""

from pipeline.model.families import FAMILIES, Family, family_of
from pipeline.model.frozen import FrozenLayer, FrozenModel
from pipeline.model.replacement_model import ReplacementModel

__all__ = ["FAMILIES", "Family", "FrozenLayer", "FrozenModel", "ReplacementModel", "family_of"]
