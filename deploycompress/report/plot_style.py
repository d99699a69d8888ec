"""What all plots share: colours that colour-blind readers and printers tell apart, sizes, and names that fit.

Figures are made as objects and never shown, so that no window system and no setting of another program is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color Universal Design", 2008.
BLACK, GREY = "#000000", "#7F7F7F"
BLUE, SKY, GREEN, ORANGE, VERMILLION, PURPLE = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7"

WIDTH_IN = 8.0
DOTS_PER_INCH = 150
TEXT_SIZE = 9
LONGEST_NAME = 28
SEVERAL = 150  # points, above which they are drawn smaller


def new_figure(height_in: float) -> Figure:
    """Make an empty figure whose parts keep clear of each other."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_IN, height_in), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")


def tidy(axes: Axes, *, x: str = "", y: str = "") -> None:
    """Name the axes, draw a quiet grid, and leave out the frame's right and upper side."""
    axes.set_facecolor("white")
    axes.set_xlabel(x, fontsize=TEXT_SIZE)
    axes.set_ylabel(y, fontsize=TEXT_SIZE)
    axes.tick_params(labelsize=TEXT_SIZE - 1)
    axes.grid(visible=True, color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def say_nothing_is_there(axes: Axes, text: str) -> None:
    """Write into a panel why it is empty, and take its ticks."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY, fontsize=TEXT_SIZE)
    axes.set_yticks([])


def point_size(count: int) -> float:
    """Give the area of a point in square points: smaller where there are many."""
    return 26.0 if count <= SEVERAL else 12.0


def shown_name(name: str) -> str:
    """Shorten a name to its end, and keep from it what the font lacks or reads as a formula."""
    readable = "".join(letter if " " <= letter <= "~" else "?" for letter in name)
    if len(readable) > LONGEST_NAME:
        tail = readable[-(LONGEST_NAME - 1) :]  # the end of a layer's name tells it from its neighbours
        whole = tail.partition(".")[2]
        readable = "\u2026" + (whole if len(whole) >= LONGEST_NAME // 2 else tail)
    readable = readable.replace("$", r"\$")
    return f" {readable}" if readable.startswith("_") else readable  # a legend leaves out labels that start with _
