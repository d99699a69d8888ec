"""Writes docs/search.md, its figures and docs/search-benchmark.json from what the search benchmark left.

Numbers stand between marks and are made anew every time; the prose around them is written once and may be edited.
"""

from __future__ import annotations

from pathlib import Path

from deploycompress.store.trace_file import write_whole
from tools.marked_page import filled, marked
from tools.search_benchmark_comparison import comparison, verdicts
from tools.search_benchmark_figures import (
    Records,
    actor_critic_figure,
    compression_figure,
    constraints_figure,
    curves_figure,
)
from tools.search_benchmark_inside import compressing, constraining, learning, transfer
from tools.search_benchmark_records import read_records, write_records
from tools.search_benchmark_setup import setup

DOCS = Path("docs")
TOOL = "tools/search_benchmark.py"

PAGE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "# Search engines compared",
        "Made by `python -m tools.search_benchmark tables`; prose may be edited.",
        ("setup",),
    ),
    (
        "## ResNet-20",
        "*Best reward*: validation accuracy of the best student at the highest rung of the ladder that a student which "
        "meets the limit reached. It is the largest of many noisy numbers, hence too high; *test* after the final "
        "distillation is not. *Spread*: standard deviation between seeds. *Broke the limit*: share of the evaluations. "
        "*Seconds*: of computing; a student that another run had met before costs none, so later runs look cheaper.",
        ("resnet20", "resnet20-verdict"),
    ),
    ("## ResNet-56", "The same, with fewer runs.", ("resnet56", "resnet56-verdict")),
    (
        "## Learning curves",
        "Mean over seeds; dots: where each seed ends. What lies far below the ends is cut off.",
        ("curves",),
    ),
    (
        "## Transfer between teachers",
        "N2N's first stage, with a new policy and with one that learnt on the other teacher (N2N, table 5). A student "
        "that breaks the limit counts -1. *Accuracy* is of those that meet it, foreseen at the top of the ladder; "
        "*untrained* after recalibration alone, which does not depend on how far others climbed.",
        ("transfer",),
    ),
    (
        "## Choices inside N2N",
        "On ResNet-20; bands go from the lowest seed to the highest; runs that ended early stay at their last value. "
        "The second stage begins at about half of the evaluations.",
        ("actor-critic", "constraints", "compression"),
    ),
)


def write_tables(out: Path, docs: Path = DOCS) -> None:
    """Write the document, the figures and the records.

    Args:
        out: folder of the traces and results; what is not there is taken from the records of before.
        docs: where to write.

    Raises:
        UsageError: a run's result is not that of its trace, or the document has an unknown mark.
    """
    docs.mkdir(parents=True, exist_ok=True)
    records, under_way = read_records(out, docs / "search-benchmark.json")
    shown = _figures(records, docs)
    parts = {
        "setup": setup(),
        "resnet20": comparison("resnet20", records, under_way),
        "resnet20-verdict": verdicts("resnet20", records),
        "resnet56": comparison("resnet56", records, under_way),
        "resnet56-verdict": verdicts("resnet56", records),
        "transfer": transfer(records, under_way),
        "curves": "",
        "actor-critic": learning(records, under_way),
        "constraints": constraining(records, under_way),
        "compression": compressing(records, under_way),
    }
    parts = {name: "\n\n".join(filter(None, (text, shown.get(name, "")))) for name, text in parts.items()}
    page = docs / "search.md"
    write_whole(page, filled(page.read_text("utf-8") if page.exists() else _new_page(), parts, tool=TOOL))
    write_records(docs / "search-benchmark.json", records)


def _new_page() -> str:
    pieces = []
    for head, prose, names in PAGE:
        pieces += [head, prose, *(marked(TOOL, name, "") for name in names)]
    return "\n\n".join(pieces) + "\n"


def _figures(records: Records, docs: Path) -> dict[str, str]:
    drawn = {
        "curves": (curves_figure(records), "Best validation reward against evaluations, by engine"),
        "actor-critic": (actor_critic_figure(records), "Actor-critic and REINFORCE"),
        "constraints": (constraints_figure(records), "Annealed and hard constraints"),
        "compression": (compression_figure(records), "Rewards with C(2-C) and with C"),
    }
    shown = {}
    for name, (figure, title) in drawn.items():
        if figure is None:
            shown[name] = "No figure: no run is finished."
            continue
        figure.savefig(docs / f"search-{name}.png", format="png", facecolor="white")
        shown[name] = f"![{title}](search-{name}.png)"
    return shown
