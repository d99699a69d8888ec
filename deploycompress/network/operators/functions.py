"""Elementwise functions of one number: trigonometry, rounding, and questions about it."""

from __future__ import annotations

import torch
from torch import Tensor

from deploycompress.network.operator import Kernel, NodeContext, Operator, plain


def _is_infinite(context: NodeContext) -> Kernel:
    negative, positive = context.attribute("detect_negative", 1), context.attribute("detect_positive", 1)
    if negative and positive:
        return torch.isinf
    if negative or positive:
        return torch.isposinf if positive else torch.isneginf
    return lambda x: torch.zeros_like(x, dtype=torch.bool)


def _rounded(x: Tensor) -> Tensor:
    return torch.round(x)  # halves go to the even neighbour, in ONNX as in torch


FUNCTIONS = {
    "Sin": Operator(build=plain(torch.sin), known=22),
    "Cos": Operator(build=plain(torch.cos), known=22),
    "Tan": Operator(build=plain(torch.tan), known=22),
    "Asin": Operator(build=plain(torch.asin), known=22),
    "Acos": Operator(build=plain(torch.acos), known=22),
    "Atan": Operator(build=plain(torch.atan), known=22),
    "Sinh": Operator(build=plain(torch.sinh), known=22),
    "Cosh": Operator(build=plain(torch.cosh), known=22),
    "Asinh": Operator(build=plain(torch.asinh), known=22),
    "Acosh": Operator(build=plain(torch.acosh), known=22),
    "Atanh": Operator(build=plain(torch.atanh), known=22),
    "Floor": Operator(build=plain(torch.floor), known=13),
    "Ceil": Operator(build=plain(torch.ceil), known=13),
    "Round": Operator(build=plain(_rounded), known=22),
    "Sign": Operator(build=plain(torch.sign), known=13),
    "IsNaN": Operator(build=plain(torch.isnan), known=20),
    "IsInf": Operator(build=_is_infinite, known=20, attributes=frozenset({"detect_negative", "detect_positive"})),
}
