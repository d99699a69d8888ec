"""Everything known of a student but its accuracy, under the names that constraints use."""

from __future__ import annotations

from deploycompress.graph import Graph
from deploycompress.measuring.measurement import BYTES_PER_MIB, Measurement
from deploycompress.measuring.static import macs, params


def student_metrics(
    student: Graph, teacher: Graph, measurement: Measurement, teacher_peak_bytes: int
) -> dict[str, float]:
    """Give everything known of a student but its accuracy, under the names of `constraint.METRICS`.

    Args:
        student: the graph that was measured, batch norm folded.
        teacher: what it was cut from, batch norm folded as well, so that folding alone saves nothing.
        measurement: of the student, beside the teacher.
        teacher_peak_bytes: the teacher's activation peak.
    """
    return {
        **measurement.metrics(),
        "activation_peak_ratio": measurement.activation_peak_bytes / max(teacher_peak_bytes, 1),
        "params": float(params(student)),
        "params_ratio": params(student) / params(teacher),
        "macs": float(macs(student)),
        "macs_ratio": macs(student) / macs(teacher),
        "file_mib": len(student.to_bytes()) / BYTES_PER_MIB,
        "file_ratio": len(student.to_bytes()) / len(teacher.to_bytes()),
    }
