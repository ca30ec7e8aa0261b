"""Dictionaries that replace a model's MLPs, and one reader for each of their file formats."""

from pipeline.transcoders.activation import Activation, JumpReLU, ReLU, TopK
from pipeline.transcoders.load import load_transcoders
from pipeline.transcoders.transcoders import HookPoint, TranscoderLayer, Transcoders

__all__ = [
    "Activation",
    "HookPoint",
    "JumpReLU",
    "ReLU",
    "TopK",
    "TranscoderLayer",
    "Transcoders",
    "load_transcoders",
]
