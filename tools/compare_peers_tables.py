"""The tables of the comparison, from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tools.compare_peers_records import MOST_SPREAD, Latencies, Trained
from tools.compare_peers_rows import Row
from tools.search_benchmark_comparison import table

PEER, OURS = "torch-pruning", "ours"
SHOWN_SETTINGS = ("batch_size", "peak_rate", "warm_up", "momentum", "weight_decay", "checks", "augments", "loss")


def speed_table(rows: Sequence[Row]) -> str:
    """Hold what was saved by arithmetic against what was saved in time, for each network once."""
    head = ("student", "how", "fewer MACs", "parameters", "speed-up", "speed-up per MAC reduction")
    once = {row.cut.name: row for row in rows}
    return table(
        head,
        [
            (
                row.cut.name,
                row.cut.made,
                f"{row.mac_reduction:.2f}x",
                f"{row.cut.params:,}",
                "-" if row.latency is None else f"{1 / row.latency.ratio:.2f}x",
                "-" if row.efficiency is None else f"{row.efficiency:.2f}",
            )
            for row in once.values()
        ],
    )


def result_table(rows: Sequence[Row]) -> str:
    """Lay out what is trained, the slowest first."""
    if not rows:
        return "No student is trained yet."
    head = (
        *("student", "latency ratio", "speed-up", "fewer MACs", "per MAC reduction", "parameters"),
        *("before", "validation", "test", "images seen"),
    )
    return table(head, [_result_cells(row, row.trained) for row in rows if row.trained is not None])


def against(rows: Sequence[Row]) -> str:
    """Set beside each of torch-pruning's students our best that is no slower, once for each recipe of ours."""
    recipes = dict.fromkeys(row.trained.recipe for row in rows if row.trained and row.cut.family == OURS)
    texts = [
        f"Ours with {'our own' if name == 'ours' else 'the plain'} recipe:\n\n{_against(rows, name)}"
        for name in recipes
    ]
    return "\n\n".join(texts) if texts else "None of ours is trained yet."


def _against(rows: Sequence[Row], recipe: str) -> str:
    head = ("torch-pruning's", "ratio", "test", "ours", "ratio", "test", "ours better by")
    lines = []
    for peer in (row for row in rows if row.cut.family == PEER and row.latency is not None):
        mine = _best_no_slower(rows, peer, recipe)
        lines.append(
            (
                *_pair_cells(peer),
                *(("none", "-", "-") if mine is None else _pair_cells(mine)),
                "-" if mine is None else f"{100 * (_test(mine) - _test(peer)):+.2f} points",
            )
        )
    return table(head, lines) if lines else "None of torch-pruning's students is trained and measured yet."


def settings_text(rows: Sequence[Row], images: int) -> str:
    """Say how the students were trained, as their records tell."""
    trained = [row.trained for row in rows if row.trained is not None]
    if not trained:
        return f"* up to {images:,} training images each; nothing is trained yet"
    lines = [
        f"* up to {images:,} training images each, whole batches: {_all(f'{one.images_seen:,}' for one in trained)}"
    ]
    for recipe in dict.fromkeys(one.recipe for one in trained):
        of_recipe = [one for one in trained if one.recipe == recipe]
        values = (f"{name} {_all(str(one.settings[name]) for one in of_recipe)}" for name in SHOWN_SETTINGS)
        lines.append(f"* {recipe} recipe: {'; '.join(values)}")
    lines.append(f"* trained in {_all(one.compute for one in trained)}; code {_all(one.commit for one in trained)}")
    lines.append(f"* training took {_minutes(min(trained, key=_seconds))} to {_minutes(max(trained, key=_seconds))}")
    return "\n".join(lines)


def machine(latencies: Latencies) -> str:
    """Say where and how latency was measured."""
    return (
        f"* latency: {latencies.machine}, ONNX Runtime {latencies.onnxruntime}, {latencies.threads} thread(s), batch "
        f"size one, {latencies.taken}; teacher {latencies.teacher_ms:.2f} ms; {len(latencies.of)} networks and the "
        f"teacher in turns, {latencies.starts} fresh processes, {latencies.samples} samples each"
        f"{'' if latencies.settled else ', **latency was not steady**'}; ratios are to the teacher, with "
        f"{latencies.confidence:.0%} intervals over processes, those wider than {MOST_SPREAD:.0%} of the ratio left "
        f"out; code {latencies.commit}"
    )


def _result_cells(row: Row, trained: Trained) -> tuple[str, ...]:
    latency = row.latency
    return (
        row.label,
        "-" if latency is None else f"{latency.ratio:.3f} ({latency.low:.3f} to {latency.high:.3f})",
        "-" if latency is None else f"{1 / latency.ratio:.2f}x",
        f"{row.mac_reduction:.2f}x",
        "-" if row.efficiency is None else f"{row.efficiency:.2f}",
        f"{trained.params:,}",
        f"{trained.before:.1%}",
        f"{trained.validation:.2%}",
        f"{trained.test:.2%}",
        f"{trained.images_seen:,}",
    )


def _best_no_slower(rows: Sequence[Row], peer: Row, recipe: str) -> Row | None:
    """Choose by validation, for the test images choose nothing."""
    ours = [(row, row.trained.validation) for row in rows if _is_ours(row, recipe) and row.latency and row.trained]
    as_fast = [(row, validation) for row, validation in ours if _ratio(row) <= _ratio(peer)]
    return max(as_fast, key=lambda pair: pair[1], default=(None, 0.0))[0]


def _is_ours(row: Row, recipe: str) -> bool:
    return row.cut.family == OURS and row.trained is not None and row.trained.recipe == recipe


def _pair_cells(row: Row) -> tuple[str, str, str]:
    return row.label, f"{_ratio(row):.3f}", f"{_test(row):.2%}"


def _ratio(row: Row) -> float:
    return row.latency.ratio if row.latency else float("inf")


def _test(row: Row) -> float:
    return row.trained.test if row.trained else float("nan")


def _seconds(trained: Trained) -> float:
    return trained.seconds


def _minutes(trained: Trained) -> str:
    return f"{trained.seconds / 60:.0f} min"


def _all(values: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(values))
