"""What a calibration found, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]  # Any: JSON

_IN_A_ROW = 12


def calibration_lines(document: Document) -> Iterator[str]:
    """Write a calibration for people: a staircase a line, the table's error, and where everything lies."""
    machine = document["machine"]
    yield (
        f"Machine {machine['id']} ({machine['cpu'] or 'unknown processor'}), ONNX Runtime {document['onnxruntime']}, "
        f"{document['precision']}, evidence {document['evidence']}"
    )
    for entry in document["staircases"]:
        yield ""
        yield f"{entry['kind']}, {entry['side']}: {entry['verdict']}"
        for row in range(0, len(entry["widths"]), _IN_A_ROW):
            part = entry["widths"][row : row + _IN_A_ROW]
            yield "  width " + "".join(f"{step['width']:>8}" for step in part)
            yield "  ms    " + "".join(f"{step['ms']:>8.3f}" for step in part)
    yield ""
    if document["without_rule"]:
        yield f"No staircase is known for {', '.join(document['without_rule'])}."
    yield f"Channel quantum in {document['precision']}: {document['quantum']}"
    table = document["table"]
    if table is None:
        yield "Latency table: none, the model has too few different students"
    else:
        yield (
            f"Latency table of {table['students']} students; error on unseen ones {table['median_error']:.1%} in the "
            f"median, {table['worst_error']:.1%} at worst: {table['path']}"
        )
    yield f"Calibrated profile: {document['out']}"
