"""Brings together what is known of each competitor: its cut, its training, its latency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.compare_peers_records import (
    Cut,
    Latencies,
    Latency,
    Trained,
    read_cut,
    read_trained,
    require_equal_images,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One competitor, or one of its trainings.

    Attributes:
        cut: how it was made.
        trained: what training made of it; none where it is not trained.
        latency: of what ships, or would; none where it was not measured, or too much else was going on.
    """

    cut: Cut
    trained: Trained | None
    latency: Latency | None

    @property
    def label(self) -> str:
        """Name the row."""
        is_plain = self.trained is None or self.trained.recipe == "plain"
        return self.cut.name if is_plain or self.trained is None else f"{self.cut.name} ({self.trained.recipe} recipe)"

    @property
    def mac_reduction(self) -> float:
        """The teacher's MACs over those of what ships."""
        if self.trained is None:
            return self.cut.mac_reduction
        return self.cut.mac_reduction * self.cut.macs / self.trained.macs

    @property
    def efficiency(self) -> float | None:
        """Speed-up over MAC reduction; none where latency was not measured."""
        return None if self.latency is None else 1 / self.latency.ratio / self.mac_reduction


def read_rows(out: Path, latencies: Latencies, *, images: int) -> tuple[Row, ...]:
    """Read all competitors, the slowest first; those not measured come last.

    Args:
        out: folder of the records.
        latencies: of all structures.
        images: trainings on other numbers of images are left out.

    Raises:
        UsageError: a record is damaged, or students saw different numbers of images.
    """
    rows: list[Row] = []
    for path in sorted(out.glob("*.cut.json")):
        cut = read_cut(path)
        found: list[Trained | None] = [read_trained(one) for one in sorted(out.glob(f"{cut.name}.{images}.*.json"))]
        for trained in found or [None]:
            structure = cut.structure if trained is None else trained.structure
            latency = latencies.of.get(structure)
            rows.append(Row(cut=cut, trained=trained, latency=latency if latency and latency.is_clear else None))
    require_equal_images(row.trained for row in rows if row.trained is not None)
    return tuple(sorted(rows, key=lambda row: (-_ratio(row), row.label)))


def fastest_first(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Sort by latency; rows without one come first."""
    return tuple(sorted(rows, key=_ratio))


def _ratio(row: Row) -> float:
    return 0.0 if row.latency is None else row.latency.ratio
