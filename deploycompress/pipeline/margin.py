"""How much stricter the search is than the limits, so that what ships meets them in spite of noise."""

from __future__ import annotations

from deploycompress.constraint import ANALYTIC_METRICS, Constraint

NOISE_MARGIN = 0.03


def stricter(row: Constraint) -> Constraint:
    """Tighten a limit on what is measured; what is counted is exact."""
    return row if row.metrics <= ANALYTIC_METRICS else row.tightened(NOISE_MARGIN)
