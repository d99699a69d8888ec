"""Everything known of a student but its accuracy, under the names that constraints use."""

from __future__ import annotations

from deploycompress.graph import Graph
from deploycompress.measuring.measurement import BYTES_PER_MIB, Measurement
from deploycompress.measuring.static import macs, params


def student_metrics(
    student: Graph, teacher: Graph, measurement: Measurement, teacher_peak_bytes: int, *, file: bytes
) -> dict[str, float]:
    """Give everything known of a student but its accuracy, under the names of `constraint.METRICS`.

    Args:
        student: as it ships, or in that very form, which in 8 bits may have some more weights (`quantize/`).
        teacher: what it was cut from, batch norm folded as well, so that folding alone saves nothing.
        measurement: of the student, beside the teacher.
        teacher_peak_bytes: the teacher's activation peak.
        file: its bytes.
    """
    return {
        **measurement.metrics(),
        "activation_peak_ratio": measurement.activation_peak_bytes / max(teacher_peak_bytes, 1),
        "params": float(params(student)),
        "params_ratio": params(student) / params(teacher),
        "macs": float(macs(student)),
        "macs_ratio": macs(student) / macs(teacher),
        "file_mib": len(file) / BYTES_PER_MIB,
        "file_ratio": len(file) / len(teacher.to_bytes()),
    }
