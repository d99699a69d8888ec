"""Lays the zoo's rows out as a document."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence

from tools.zoo_blocks import BlockRow
from tools.zoo_row import Row

SMALL = 30_000_000
TRACE_BAR, SLIM_BAR = 1.0, 0.2
HEAD = (
    *("model", "status", "export s", "trace s", "slim s", "torch-pruning s", "params before", "after", "may be cut"),
    *("blocks", "kernels", "difference"),
)


def document(
    rows: Sequence[Row], removals: Sequence[BlockRow], skipped: Mapping[str, str], bar: float, machine: str
) -> str:
    """Write the coverage document: summary, table, what was skipped, what is frozen and why."""
    parts = [
        "# Coverage",
        "Written by `python -m tools.zoo --peer`, never by hand. Each network has random weights and randomised norms. "
        "It is captured, its channels are traced, a random half of every channel group that may be cut is cut, and the "
        "slim graph is compared with the masked one in ONNX Runtime at batch two (batch one where the network takes no "
        "other): *difference* is the largest one over the largest output.",
        "*may be cut*: share of all channels that are in no frozen group. *torch-pruning s*: seconds its dependency "
        "graph takes for the same network in the same process, or what it raised; they contain the forward pass that "
        "records the network, which is *export* on our side. *trace* and *slim* are the best of "
        "three. *blocks* and *kernels*: how many may be removed, and shrunk. A star: the boxes selected in the end "
        "differ, because nearly equal scores of random weights change ranks with rounding; compared are all tensors of "
        "static size that enter the selection. Detection networks keep their batch of one.",
        f"Machine: {machine}. Date: {datetime.datetime.now(tz=datetime.UTC).date()}.",
        "\n".join(f"* {line}" for line in _summary(rows, bar)),
        _table(rows),
        "## Blocks removed one at a time",
        "Each block that is offered is removed alone and what is left runs in ONNX Runtime. *Difference*: to the whole "
        "network with the weights of that block set so that it does nothing (a residual branch's last weights zero, a "
        "gate open, a branch unread).",
        _block_table(removals),
        "## Not tried",
        "\n".join(f"* `{name}`: {why}." for name, why in skipped.items()),
        "## Frozen channels",
        "Channels that must stay for other reasons than being outputs, with the number of channels.",
        "\n".join(_frozen(rows)) or "None.",
    ]
    return "\n\n".join(parts) + "\n"


def _summary(rows: Sequence[Row], bar: float) -> list[str]:
    good = [row for row in rows if row.status == "ok"]
    compared = [row.relative for row in good if row.relative is not None]
    small = [row for row in good if (row.params_before or 0) <= SMALL]
    both = [(row.trace_s, row.peer_s) for row in good if row.trace_s is not None and row.peer_s is not None]
    ratios = sorted(peer / ours for ours, peer in both)
    trace, slim = (max((seconds or 0 for seconds in column), default=0) for column in _seconds(small))
    lines = [
        f"{len(good)} of {len(rows)} networks pass (difference at most {bar:.0e}); "
        f"worst {max(compared, default=0):.1e}",
        f"up to {SMALL // 10**6} M parameters ({len(small)} networks): slowest trace {trace:.2f} s "
        f"(bar {TRACE_BAR:g} s), slowest slim {slim:.3f} s (bar {SLIM_BAR:g} s)",
    ]
    if ratios:
        lines.append(
            f"torch-pruning builds its graph for {len(both)} of them, in {ratios[len(ratios) // 2]:.1f} times our "
            f"seconds at the median ({ratios[0]:.2f} to {ratios[-1]:.0f})"
        )
    return lines


def _seconds(rows: Sequence[Row]) -> tuple[list[float | None], list[float | None]]:
    return [row.trace_s for row in rows], [row.slim_s for row in rows]


def _table(rows: Sequence[Row]) -> str:
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    return "\n".join([*lines, *(f"| {' | '.join(_cells(row))} |" for row in rows)])


def _cells(row: Row) -> list[str]:
    share = f"{row.free / row.channels:.0%}" if row.free is not None and row.channels else "-"
    return [
        row.name,
        row.status.replace("|", "/"),
        _number(row.export_s, ".1f"),
        _number(row.trace_s, ".3f"),
        _number(row.slim_s, ".3f"),
        _number(row.peer_s, ".3f") if row.peer_s is not None else row.peer_failure or "-",
        _number(row.params_before, ","),
        _number(row.params_after, ","),
        share,
        _number(row.blocks, ""),
        _number(row.kernels, ""),
        _number(row.relative, ".1e") + (" *" if row.selected_differs else ""),
    ]


def _block_table(removals: Sequence[BlockRow]) -> str:
    lines = ["| model | offered | ran | seconds to find | difference | failures |", "|---|---|---|---|---|---|"]
    for row in removals:
        offered = ", ".join(f"{count} {kind}" for kind, count in sorted(row.offered.items()))
        worst = ", ".join(f"{kind} {value:.1e}" for kind, value in sorted(row.worst.items()))
        failures = "; ".join(row.failures) or "none"
        lines.append(f"| {row.name} | {offered} | {row.ran} | {row.find_s:.3f} | {worst or '-'} | {failures} |")
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def _frozen(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        reasons: dict[str, int] = {}
        for why, count in row.frozen.items():
            general = re.sub(r"\S*/\S*", "...", why)  # node names, which differ from layer to layer
            reasons[general] = reasons.get(general, 0) + count
        if reasons:
            lines.append(f"* `{row.name}`: " + "; ".join(f"{count} ({why})" for why, count in sorted(reasons.items())))
    return lines
