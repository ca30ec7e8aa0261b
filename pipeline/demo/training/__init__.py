"""Training of the built-in model and of its transcoders."""

from pipeline.demo.training.activations import CHUNK, LayerActivations, mlp_activations, mlps_replaced
from pipeline.demo.training.model import ModelTraining, train_model
from pipeline.demo.training.transcoders import TranscoderTraining, train_transcoder

__all__ = [
    "CHUNK",
    "LayerActivations",
    "ModelTraining",
    "TranscoderTraining",
    "mlp_activations",
    "mlps_replaced",
    "train_model",
    "train_transcoder",
]
