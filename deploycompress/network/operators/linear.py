"""Matrix products."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from deploycompress.network.operator import EVERY_POSITION, Kernel, NodeContext, Operator, plain


def _gemm(context: NodeContext) -> Kernel:
    alpha, beta = float(context.attribute("alpha", 1.0)), float(context.attribute("beta", 1.0))
    flip_a, flip_b = bool(context.attribute("transA", 0)), bool(context.attribute("transB", 0))
    has_bias = context.has_input(2)
    outputs = context.shape(1)[0 if flip_b else 1]
    if alpha == beta == 1.0 and flip_b and not flip_a and (not has_bias or context.shape(2) == (outputs,)):
        return F.linear

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        left, right = a.t() if flip_a else a, b.t() if flip_b else b
        if c is None:
            return alpha * (left @ right)
        return torch.addmm(c, left, right, beta=beta, alpha=alpha)

    return run


def _einsum(context: NodeContext) -> Kernel:
    equation = context.text("equation", "")
    return lambda *tensors: torch.einsum(equation, *tensors)


LINEAR = {
    "Gemm": Operator(
        build=_gemm, known=13, attributes=frozenset({"alpha", "beta", "transA", "transB"}), trained=(1, 2)
    ),
    "MatMul": Operator(build=plain(torch.matmul), known=13, trained=(0, 1)),
    "Einsum": Operator(build=_einsum, known=28, attributes=frozenset({"equation"}), trained=EVERY_POSITION),
}
