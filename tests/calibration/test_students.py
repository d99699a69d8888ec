"""Random students: they differ, they lie on the grid, and the same seed gives the same ones."""

from __future__ import annotations

from deploycompress.execute.structure import structure_digest
from tests.calibration.networks import depthwise_net, students_of, wide_net


def test_the_same_seed_gives_the_same_students() -> None:
    first, again, other = (
        [structure_digest(student) for student in students_of(wide_net(), 12, seed=seed)] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_students_differ_in_blocks_and_in_widths() -> None:
    students = list(students_of(wide_net(), 30))
    assert len({len(student.nodes) for student in students}) > 2
    assert len({structure_digest(student) for student in students}) > 20


def test_widths_are_multiples_of_the_quantum() -> None:
    for student in students_of(depthwise_net(), 30, quantum=16):
        for name, array in student.weights.items():
            if name.startswith("conv") and name.endswith(".weight"):
                assert array.shape[0] % 16 == 0


def test_batch_norms_are_folded() -> None:
    assert not any(node.op == "BatchNormalization" for one in students_of(wide_net(), 5) for node in one.nodes)
