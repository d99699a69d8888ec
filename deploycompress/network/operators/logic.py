"""Comparisons and logic, with broadcasting; no gradient flows through them."""

from __future__ import annotations

import torch

from deploycompress.network.operator import Operator, plain

LOGIC = {
    "Not": Operator(build=plain(torch.logical_not), known=1),
    "And": Operator(build=plain(torch.logical_and), known=7),
    "Or": Operator(build=plain(torch.logical_or), known=7),
    "Xor": Operator(build=plain(torch.logical_xor), known=7),
    "Equal": Operator(build=plain(torch.eq), known=19),
    "Greater": Operator(build=plain(torch.gt), known=13),
    "GreaterOrEqual": Operator(build=plain(torch.ge), known=16),
    "Less": Operator(build=plain(torch.lt), known=13),
    "LessOrEqual": Operator(build=plain(torch.le), known=16),
}
