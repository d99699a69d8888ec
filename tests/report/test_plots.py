"""The plots show what the trace says, and can be written for every trace a search may leave."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.image import imread

from deploycompress.constraint import parse_constraint
from deploycompress.errors import OutputError, UsageError
from deploycompress.report.plot_front import front_figure, pareto_front
from deploycompress.report.plot_history import history_figure
from deploycompress.report.plot_sparsity import sparsity_figure, sparsity_of
from deploycompress.report.plot_style import LONGEST_NAME, shown_name
from deploycompress.report.plots import write_plots
from deploycompress.search.engine import Kind
from deploycompress.search.outcome import TraceEntry, best_of, is_feasible
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Candidate, Dimension, Layer, Removal, Space
from tests.report.plot_trace import LIMITED, entry, searched
from tests.search.toy import TEACHER_ACCURACY

NAMES = ["reward.png", "sparsity.png", "front.png"]


def points(axes: Axes) -> set[tuple[float, float]]:
    """Give the places of all marks in a panel."""
    marks = [mark for mark in axes.collections if isinstance(mark, PathCollection)]
    return {(float(x), float(y)) for mark in marks for x, y in np.asarray(mark.get_offsets())}


def line(axes: Axes, label: str) -> list[tuple[float, float]]:
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return [(float(x), float(y)) for x, y in np.asarray(found.get_xydata())]


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_history_shows_every_reward_accuracy_and_saving_of_a_search() -> None:
    trace, _ = searched(60)
    figure = history_figure(trace, LIMITED)
    *rewards, accuracies, savings = figure.axes
    numbered = list(enumerate(trace, start=1))
    assert len(rewards) == 2  # some students get the lowest reward: the axis is broken
    for axes in rewards:
        assert points(axes) == {(number, one.reward) for number, one in numbered}
    assert points(accuracies) == {
        (number, 100 * one.evaluation.metrics["accuracy"])
        for number, one in numbered
        if "accuracy" in one.evaluation.metrics
    }
    assert points(savings) == {
        (number, 100 * (1 - one.evaluation.metrics["latency_ratio"]))
        for number, one in numbered
        if "latency_ratio" in one.evaluation.metrics
    }
    assert line(accuracies, "teacher")[0][1] == 100 * TEACHER_ACCURACY
    assert line(savings, "limit")[0][1] == pytest.approx(40)


def test_the_best_reward_so_far_is_that_of_the_feasible_ones() -> None:
    trace, _ = searched(60)
    worth = [one.reward if is_feasible(one.evaluation, LIMITED) else -math.inf for one in trace]
    expected = [(n, best) for n, best in enumerate(accumulate(worth, max), start=1) if best > -math.inf]
    assert line(history_figure(trace, LIMITED).axes[0], "best reward so far") == expected


def test_every_reward_is_inside_the_visible_part_of_one_of_the_two_axes() -> None:
    trace, _ = searched(60)
    upper, lower = history_figure(trace, LIMITED).axes[:2]
    for one in trace:
        seen = [low < one.reward < high for low, high in (upper.get_ylim(), lower.get_ylim())]
        assert sum(seen) == 1


def test_rewards_near_the_lowest_share_one_axis_with_it() -> None:
    assert len(history_figure([entry(-1.0), entry(-0.9), entry(0.5)], LIMITED).axes) == 3


def test_marks_tell_feasible_broken_and_failed_apart() -> None:
    trace = [entry(0.9), entry(-1.0, latency=0.9), entry(-1.0, latency=None, accuracy=None, failure="boom")]
    assert labels(history_figure(trace, LIMITED))[:3] == ["meets the constraints", "breaks a constraint", "failed"]


def known(trace: tuple[TraceEntry, ...]) -> list[TraceEntry]:
    return [one for one in trace if one.evaluation.accuracy is not None and not one.evaluation.failure]


def test_the_front_figure_shows_every_student_whose_accuracy_is_known() -> None:
    trace, _ = searched(60)
    figure = front_figure(trace, LIMITED, None)
    assert points(figure.axes[0]) == {
        (one.evaluation.metrics["latency_ratio"], 100 * one.evaluation.metrics["accuracy"]) for one in known(trace)
    }
    rungs = {len(one.evaluation.climb) for one in known(trace)}
    assert [text for text in labels(figure) if "rung" in text] == [f"trained to rung {rung}" for rung in sorted(rungs)]


def test_the_front_is_of_the_students_trained_longest() -> None:
    trace, _ = searched(60)
    top = [one for one in known(trace) if len(one.evaluation.climb) == 3]
    places = [(one.evaluation.metrics["latency_ratio"], 100 * one.evaluation.metrics["accuracy"]) for one in top]
    assert line(front_figure(trace, LIMITED, None).axes[0], "front of the best trained") == pareto_front(places)


def test_the_chosen_student_the_limit_and_the_teacher_are_marked() -> None:
    trace, _ = searched(60)
    chosen = best_of(trace, LIMITED)
    assert chosen is not None
    x, y = chosen.evaluation.metrics["latency_ratio"], 100 * chosen.evaluation.metrics["accuracy"]
    figure = front_figure(trace, LIMITED, chosen)
    axes = figure.axes[0]
    (ring,) = [mark for mark in axes.collections if str(mark.get_label()).startswith("chosen")]
    assert np.asarray(ring.get_offsets()).tolist() == [[x, y]]
    assert f"chosen: {y:.2f} % at {x:.4g}" in labels(figure)
    assert line(axes, "teacher") == [(1.0, 100 * TEACHER_ACCURACY)]
    assert line(axes, "latency_ratio <= 0.6")[0][0] == 0.6


def test_a_limit_far_from_all_students_is_in_the_picture() -> None:
    settings = RewardSettings(constraints=(parse_constraint("latency_ratio <= 0.2"),))
    axes = front_figure([entry(-1.0, latency=0.8), entry(-1.0, latency=0.7)], settings, None).axes[0]
    assert axes.get_xlim()[0] < 0.2


def test_an_infeasible_recommendation_is_not_called_chosen() -> None:
    one = entry(-1.0, latency=0.8)
    assert any(text.startswith("nearest to the limits") for text in labels(front_figure([one], LIMITED, one)))


places = st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float))


@given(st.lists(places, min_size=1, max_size=15))
def test_the_front_is_exactly_what_no_other_beats(students: list[tuple[float, float]]) -> None:
    unbeaten = {(x, y) for x, y in students if not any(a <= x and b >= y and (a, b) != (x, y) for a, b in students)}
    front = pareto_front(students)
    assert set(front) == unbeaten
    assert front == sorted(unbeaten)


SPACE = Space(
    layers=tuple(Layer(name=name, kind="conv") for name in ("stem", "a", "b", "c", "head")),
    removals=(Removal(block="ab", layers=(1, 2)), Removal(block="c", layers=(3,))),
    dimensions=(
        Dimension(group="stream", width=8, widths=(2, 4, 8), layers=(0, 2)),
        Dimension(group="inner", width=16, widths=(4, 16), layers=(1,)),
        Dimension(group="frozen", width=10, widths=(10,), layers=(4,)),
    ),
)
HALF = Candidate(widths={"stream": 4, "inner": 4})
GONE = Candidate(remove=("ab",), widths={"stream": 2})


def test_sparsity_is_the_share_of_channels_removed_and_one_for_what_is_gone() -> None:
    trace = [entry(0.5, candidate=HALF), entry(0.4, candidate=Candidate()), entry(0.9, candidate=GONE)]
    content = sparsity_of(trace, LIMITED, SPACE)
    assert content.numbers == (0, 1, 3)
    assert dict(zip(content.names, content.shares, strict=True)) == {
        "stream": (0, 0.5, 0.75),
        "inner": (0, 0.75, 1),
        "c": (0, 0, 0),
    }
    figure = sparsity_figure(trace, LIMITED, SPACE)
    assert figure is not None
    assert line(figure.axes[0], "inner") == [(0, 0), (1, 75), (2, 100)]


def test_sparsity_follows_the_students_that_were_advanced_to() -> None:
    trace = [entry(0.9, candidate=GONE), entry(0.2, candidate=HALF, kind=Kind.ADVANCE)]
    assert sparsity_of(trace, LIMITED, SPACE).numbers == (0, 2)


def many(groups: int) -> Space:
    return Space(dimensions=tuple(Dimension(group=f"g{n}", width=8, widths=tuple(range(1, 9))) for n in range(groups)))


@pytest.mark.parametrize("groups", [8, 70, 200])
def test_many_groups_are_a_heat_map_of_the_same_figures(groups: int) -> None:
    widths = {f"g{n}": 1 + n % 8 for n in range(groups)}
    figure = sparsity_figure([entry(0.9, candidate=Candidate(widths=widths))], LIMITED, many(groups))
    assert figure is not None
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown[:, 0].tolist() == [0] * groups
    assert shown[:, 1] == pytest.approx([100 * (1 - widths[f"g{n}"] / 8) for n in range(groups)])


def test_a_space_without_a_choice_has_no_sparsity(tmp_path: Path) -> None:
    files = write_plots(tmp_path, [entry(0.9)], LIMITED, space=Space())
    assert [file.name for file in files] == ["reward.png", "front.png"]


FAILURES = [entry(-1.0, latency=None, accuracy=None, failure="boom") for _ in range(3)]
WITHOUT_ACCURACY = [entry(-1.0, latency=0.9, accuracy=None), entry(0.8), entry(-1.0, latency=0.8, accuracy=None)]
TRACES = {
    "searched": searched(40)[0],
    "one": [entry(0.9, candidate=HALF)],
    "one failure": FAILURES[:1],
    "failures": FAILURES,
    "without some accuracies": WITHOUT_ACCURACY,
    "without any accuracy": WITHOUT_ACCURACY[:1],
    "not a number": [entry(-1.0, latency=math.nan), entry(0.9)],
    "500": [
        entry(math.sin(n), latency=0.3 + (n % 7) / 10, accuracy=(n % 11) / 11, climb=(0.1,) * (n % 5))
        for n in range(500)
    ],
}


@pytest.mark.parametrize("name", TRACES)
def test_real_pictures_are_written(name: str, tmp_path: Path) -> None:
    space = searched(1)[1] if name == "searched" else SPACE
    files = write_plots(tmp_path / "new" / "plots", TRACES[name], LIMITED, space=space)
    assert [file.name for file in files] == NAMES
    for file in files:
        picture = imread(file)
        height, width = picture.shape[:2]
        assert 1100 <= width <= 1300
        assert 500 <= height <= 2200
        assert (picture[..., :3].mean(axis=2) < 0.9).mean() > 0.002  # something is drawn
        assert 5_000 < file.stat().st_size < 1_000_000


def test_an_empty_trace_has_no_plots(tmp_path: Path) -> None:
    assert write_plots(tmp_path, [], LIMITED) == ()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not be written"):
        write_plots(tmp_path / "file", [entry(0.9)], LIMITED)


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'deploycompress\[report\]'"):
        write_plots(tmp_path, [entry(0.9)], LIMITED)


def test_neither_import_nor_plotting_touches_matplotlibs_global_state(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import deploycompress.report.plots as plots;"
        "assert 'matplotlib' not in sys.modules;"
        "from tests.report.plot_trace import LIMITED, entry;"
        f"plots.write_plots(Path({str(tmp_path)!r}), [entry(0.9)], LIMITED);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0
    assert (tmp_path / "reward.png").is_file()


def test_long_names_keep_their_end() -> None:
    name = shown_name("backbone.stages.layer1.blocks.0.conv1")
    assert name == "\u2026layer1.blocks.0.conv1"
    assert len(shown_name("x" * 100)) == LONGEST_NAME


def test_odd_names_are_drawn_without_complaint(tmp_path: Path) -> None:
    odd = ["_hidden", "$x^{2$", "conv\u4e2d", "a\nb", "%s"]
    space = Space(dimensions=tuple(Dimension(group=name, width=2, widths=(1, 2)) for name in odd))
    figure = sparsity_figure([entry(0.9)], LIMITED, space)
    assert figure is not None
    figure.savefig(tmp_path / "odd.png")
    assert [text.strip() for text in labels(figure)] == ["_hidden", r"\$x^{2\$", "conv?", "a?b", "%s"]
