"""The table of every ONNX operator that can be trained; what is not in it is refused."""

from __future__ import annotations

from collections.abc import Mapping

from deploycompress.network.operator import Operator
from deploycompress.network.operators.activation import ACTIVATION
from deploycompress.network.operators.arithmetic import ARITHMETIC
from deploycompress.network.operators.convolution import CONVOLUTION
from deploycompress.network.operators.creation import CREATION
from deploycompress.network.operators.functions import FUNCTIONS
from deploycompress.network.operators.linear import LINEAR
from deploycompress.network.operators.logic import LOGIC
from deploycompress.network.operators.normalization import NORMALIZATION
from deploycompress.network.operators.ordering import ORDERING
from deploycompress.network.operators.pooling import POOLING
from deploycompress.network.operators.quantization import QUANTIZATION
from deploycompress.network.operators.reduction import REDUCTION
from deploycompress.network.operators.resize import RESIZE
from deploycompress.network.operators.sampling import SAMPLING
from deploycompress.network.operators.selection import SELECTION
from deploycompress.network.operators.shape import SHAPE
from deploycompress.network.operators.sizes import READS_SHAPES

OPERATORS: Mapping[str, Operator] = {
    **CONVOLUTION,
    **NORMALIZATION,
    **ACTIVATION,
    **ARITHMETIC,
    **FUNCTIONS,
    **LOGIC,
    **LINEAR,
    **POOLING,
    **REDUCTION,
    **RESIZE,
    **SELECTION,
    **ORDERING,
    **SAMPLING,
    **SHAPE,
    **READS_SHAPES,
    **CREATION,
    **QUANTIZATION,
}
