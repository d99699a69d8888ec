"""Runs the ONNX graph that ships as a trainable torch module, and writes trained weights back into it."""

from deploycompress.network.module import GraphModule, from_torch, to_torch

__all__ = ["GraphModule", "from_torch", "to_torch"]
