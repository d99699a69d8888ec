"""Which layer of a student is which layer of its teacher, and which of its channels the cut has left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerPair:
    """One convolution or matrix product in both networks.

    Attributes:
        weight: name of its kernel in both graphs.
        teacher_input: value that the layer reads in the teacher.
        teacher_output: value that it makes in the teacher.
        student_input: value that it reads in the student.
        student_output: value that it makes in the student.
        inputs: for each input channel in the student, its position among the teacher's, shape [C].
        outputs: for each output channel in the student, its position among the teacher's, shape [M].
    """

    weight: str
    teacher_input: str
    teacher_output: str
    student_input: str
    student_output: str
    inputs: NDArray[np.int64]
    outputs: NDArray[np.int64]
