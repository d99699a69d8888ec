"""Runs the ONNX graph that ships as a trainable torch module, and writes trained weights back into it."""

from deploycompress.network.module import GraphModule, from_torch, to_torch
from deploycompress.network.pt2 import save_pt2

__all__ = ["GraphModule", "from_torch", "save_pt2", "to_torch"]
