"""What is shown of a search while it runs: a row for each evaluation, drawn as a table or told in lines.

The newest rows move, the best one stays on top. Columns that nobody has figures for are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploycompress.search.outcome import TraceEntry, is_feasible
from deploycompress.search.reward import RewardSettings

if TYPE_CHECKING:
    from rich.table import Table

ROWS_SHOWN = 8
MISSING = "-"
GAP = 2  # spaces between columns


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRow:
    """One evaluation as people see it.

    Attributes:
        index: number of the evaluation, from 1.
        of: how many there will be at most, None when unknown.
        step: policy update or pruning step, from 0.
        kind: what was asked for: `sample` or `advance`.
        reward: what the policy learnt from it.
        best_reward: of the best student so far, None before there is one.
        accuracy: or what counts in its stead, on the validation split; None when it was not taken.
        latency_ratio: student's latency over the teacher's, None when it was not measured.
        latency_ms: milliseconds, None when it was not measured.
        entropy: mean entropy of the policy's decisions in nats, None without a policy.
        seconds: wall time it took.
        is_feasible: whether it works and meets every constraint.
        score: what counts as accuracy.
    """

    index: int
    of: int | None
    step: int
    kind: str
    reward: float
    best_reward: float | None
    accuracy: float | None
    latency_ratio: float | None
    latency_ms: float | None
    entropy: float | None
    seconds: float
    is_feasible: bool = True
    score: str = "accuracy"


def row_of(
    entry: TraceEntry,
    settings: RewardSettings,
    *,
    index: int,
    of: int | None,
    best: TraceEntry | None,
    entropy: float | None,
    score: str = "accuracy",
) -> SearchRow:
    """Make the row of an evaluation.

    Args:
        entry: the evaluation.
        settings: hold the constraints.
        index: its number, from 1.
        of: how many there will be at most, None when unknown.
        best: the best student so far, this one included.
        entropy: of the policy after it learnt from the evaluation.
        score: what counts as accuracy.
    """
    metrics = entry.evaluation.metrics
    return SearchRow(
        index=index,
        of=of,
        step=entry.proposal.step,
        kind=entry.proposal.kind.value,
        reward=entry.reward,
        best_reward=None if best is None else best.reward,
        accuracy=entry.evaluation.accuracy,
        latency_ratio=metrics.get("latency_ratio"),
        latency_ms=metrics.get("latency_ms"),
        entropy=entropy,
        seconds=sum(entry.evaluation.seconds.values()),
        is_feasible=is_feasible(entry.evaluation, settings),
        score=score,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRows:
    """The rows worth showing: the best one and the newest.

    Attributes:
        newest: in order, at most `ROWS_SHOWN`.
        best: the feasible row whose reward is the best reward, none while there is none.
    """

    newest: tuple[SearchRow, ...] = ()
    best: SearchRow | None = None

    def with_row(self, row: SearchRow) -> ShownRows:
        """Add a row below the others."""
        is_best = row.is_feasible and row.reward == row.best_reward
        return ShownRows(newest=(*self.newest, row)[-ROWS_SHOWN:], best=row if is_best else self.best)


def best_sentence(rows: ShownRows) -> str:
    """Say how good the best student is, in half a sentence; empty before the first row."""
    if not rows.newest:
        return ""
    if rows.best is None:
        best = rows.newest[-1].best_reward
        return "nothing meets the constraints yet" if best is None else f"best reward {best:.4f}"
    name = rows.best.score
    known = [
        text
        for text in (
            _some(rows.best.accuracy, lambda value: f"{name} {_percent(value)}"),
            _some(rows.best.latency_ratio, lambda value: f"latency ratio {value:.3f}"),
            _some(rows.best.latency_ms, lambda value: f"{value:.4g} ms"),
        )
        if text != MISSING
    ]
    return ", ".join([f"best reward {rows.best.reward:.4f}", *known])


def update_line(rows: Sequence[SearchRow], shown: ShownRows) -> str:
    """Tell of some evaluations in one line for a log.

    Args:
        rows: the evaluations since the last line, at least one.
        shown: all rows so far.
    """
    last = rows[-1]
    of = "" if last.of is None else f" of {last.of}"
    met = [row.reward for row in rows if row.is_feasible]
    none = f"none of the last {len(rows)} meets the constraints"
    mean = f"mean reward {sum(met) / len(met):.4f} of {len(met)}" if met else none
    entropy = "" if last.entropy is None else f"; entropy {last.entropy:.3f}"
    return f"{last.index}{of}, step {last.step}: {best_sentence(shown)}; {mean}{entropy}"


def draw(rows: ShownRows, width: int) -> Table:
    """Lay out the rows for a terminal.

    Args:
        rows: what to show, at least one row.
        width: columns of the terminal; what matters least is left out where there is no room.
    """
    from rich.table import Table
    from rich.text import Text

    has_pinned = rows.best is not None and rows.best not in rows.newest
    listed = [rows.best, *rows.newest] if rows.best is not None and has_pinned else list(rows.newest)
    columns = _columns(listed, width)
    table = Table(box=None, padding=(0, GAP, 0, 0), header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(
            listed[0].score if column is SCORE else column.head,
            justify="left" if column.is_text else "right",
            no_wrap=True,
        )
    for row in listed:
        is_best = row == rows.best
        style = "bold green" if is_best else ("" if row.is_feasible else "dim")
        cells = ["best" if column is MARK and is_best else column.show(row) for column in columns]
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Column:
    head: str
    show: Callable[[SearchRow], str]
    rank: int  # the highest ranks give way first where there is no room
    is_text: bool = False


def _some(value: float | None, form: Callable[[float], str]) -> str:
    return MISSING if value is None else form(value)


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


MARK = _Column(head="    ", show=lambda _: "", rank=0, is_text=True)
SCORE = _Column(head="accuracy", show=lambda row: _some(row.accuracy, _percent), rank=3)
COLUMNS = (
    MARK,
    _Column(head="evaluation", show=lambda row: str(row.index), rank=1),
    _Column(head="step", show=lambda row: str(row.step), rank=8),
    _Column(head="kind", show=lambda row: row.kind, rank=9, is_text=True),
    _Column(head="reward", show=lambda row: f"{row.reward:.4f}", rank=2),
    SCORE,
    _Column(head="latency ratio", show=lambda row: _some(row.latency_ratio, lambda value: f"{value:.3f}"), rank=4),
    _Column(head="ms", show=lambda row: _some(row.latency_ms, lambda value: f"{value:.4g}"), rank=6),
    _Column(head="entropy", show=lambda row: _some(row.entropy, lambda value: f"{value:.3f}"), rank=5),
    _Column(head="seconds", show=lambda row: f"{row.seconds:.1f}", rank=7),
)


def _columns(rows: Sequence[SearchRow], width: int) -> list[_Column]:
    """Choose the columns that say something and have room."""
    kinds = {row.kind for row in rows}
    taken = 0
    chosen = set()
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        cells = [column.show(row) for row in rows]
        if column is not MARK and (set(cells) == {MISSING} or (column.head == "kind" and len(kinds) == 1)):
            continue
        taken += max(map(len, [column.head, *cells])) + GAP
        if taken - GAP > width:
            break
        chosen.add(column)
    return [column for column in COLUMNS if column in chosen]
