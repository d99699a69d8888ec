"""Writes docs/benchmarks.md and its figure from the records of the comparison.

What stands between marks is made anew every time; the reading around it is written by people and stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deploycompress.store.trace_file import write_whole
from tools.compare_peers_figure import front_figure
from tools.compare_peers_records import Latencies, read_latencies
from tools.compare_peers_rows import Row, read_rows
from tools.compare_peers_tables import against, machine, result_table, settings_text, speed_table
from tools.marked_page import filled, marked

DOCS = Path("docs")
PAGE = "benchmarks.md"
FIGURE = "benchmarks.png"
TOOL = "tools/compare_peers.py"

NEW: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "# Compared with other ways to make a network smaller\n\n"
        "ResNet-56 on CIFAR-10. Every student has the same teacher, sees the same number of the same training images, "
        "and is distilled alike with the plain recipe; rows of our recipe say so. Latencies are of ONNX Runtime, all "
        "networks taking turns in one run. Made by "
        "`python -m tools.compare_peers table`; what is not between marks may be edited.",
        ("settings", "machine"),
    ),
    (
        "## How the others were run\n\n"
        "torch-pruning, global magnitude (group L2) and global Taylor, 400 steps as in its own scripts, ended after "
        "the group that reaches the MAC target; Taylor's gradients are taken anew every 20 steps, "
        "on 256 training images. "
        "torch-pruning ties channels on both sides of a zero-padded shortcut to each other as if nothing had moved, "
        "which wires the network wrongly once they are cut. So it prunes either the widths inside the blocks of the "
        "network as it is, or (`-streams`) all widths of the same network with these shortcuts written as the 1x1 "
        "convolutions that compute them. Its rounding goes downwards. Stage one is 16 wide, so rounding to 16 inside "
        "the blocks ends just below 1.7x. Uniform pruning keeps the same share of every width inside the blocks. "
        "Siblings begin with random weights; two of them learn at a higher rate, which nobody has tried yet.",
        (),
    ),
    (
        "## Fewer MACs are not less time\n\n"
        "Straight after cutting, no training. *Speed-up per MAC reduction* is 1 where every saved multiplication saves "
        "its share of the time.",
        ("speed",),
    ),
    (
        "## Accuracy and latency\n\n"
        "*Test*: once, of the ONNX file that ships. *Before*: validation accuracy after recalibration of the batch "
        "norms, before training. The teacher has seen the validation images while it was trained, so validation reads "
        "too high.",
        ("results", "figure"),
    ),
    (
        "## Ours beside torch-pruning's\n\n"
        "For each of torch-pruning's students our most accurate one (by validation) that is no slower. Our plans come "
        "from searches that judged hundreds of students on validation images, the others' are one cut each; our recipe "
        "also fits layers on 1,024 training images, which *images seen* does not count.",
        ("against",),
    ),
)


def write_page(out: Path, *, images: int, docs: Path = DOCS) -> None:
    """Write the document and the figure.

    Args:
        out: folder of the records.
        images: that every student in the table was to see.
        docs: where to write.

    Raises:
        UsageError: nothing was measured, a record is damaged, students saw different numbers of images, or the
            document has an unknown mark.
    """
    latencies = read_latencies(out)
    rows = read_rows(out, latencies, images=images)
    docs.mkdir(parents=True, exist_ok=True)
    page = docs / PAGE
    text = page.read_text("utf-8") if page.exists() else _new_page()
    write_whole(page, filled(text, _parts(rows, latencies, images, docs), tool=TOOL))


def _parts(rows: Sequence[Row], latencies: Latencies, images: int, docs: Path) -> dict[str, str]:
    trained = [row for row in rows if row.trained is not None]
    shown = "No figure: no student is trained yet."
    if trained:
        figure = front_figure(trained)
        figure.savefig(docs / FIGURE, format="png", facecolor="white")
        shown = f"![Test accuracy against latency]({FIGURE})"
    return {
        "settings": settings_text(rows, images),
        "machine": machine(latencies),
        "speed": speed_table(rows),
        "results": result_table(trained),
        "figure": shown,
        "against": against(trained),
    }


def _new_page() -> str:
    pieces = [piece for prose, names in NEW for piece in (prose, *(marked(TOOL, name, "") for name in names))]
    return "\n\n".join(pieces) + "\n"
