"""Files of tensors, safetensors or npz, opened without reading their data."""

from pipeline.transcoders.tensors.files import open_tensors
from pipeline.transcoders.tensors.stored import StoredTensor, TensorFile

__all__ = ["StoredTensor", "TensorFile", "open_tensors"]
