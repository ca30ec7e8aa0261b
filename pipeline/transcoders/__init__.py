"""Transcoders that stand in for a model's MLPs, and one reader for each of their file formats."""

from pipeline.transcoders.activation import Activation, Gated, JumpReLU, ReLU, TopK, per_feature
from pipeline.transcoders.hook_points import READS, WRITES, HookPoint
from pipeline.transcoders.load import load_transcoders
from pipeline.transcoders.transcoders import TranscoderLayer, Transcoders
from pipeline.transcoders.weights import StoredDecoder, StoredEncoder
from pipeline.transcoders.write import misread_by_circuit_tracer, write_transcoders

__all__ = [
    "READS",
    "WRITES",
    "Activation",
    "Gated",
    "HookPoint",
    "JumpReLU",
    "ReLU",
    "StoredDecoder",
    "StoredEncoder",
    "TopK",
    "TranscoderLayer",
    "Transcoders",
    "load_transcoders",
    "misread_by_circuit_tracer",
    "per_feature",
    "write_transcoders",
]
