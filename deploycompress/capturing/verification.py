"""Does the captured graph compute what the source computes? Both run on the same random input."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deploycompress.capturing.draft import BATCH
from deploycompress.capturing.findings import missing_share
from deploycompress.capturing.parity import SAMPLES, Run, onnx_runner, random_inputs
from deploycompress.errors import ModelError
from deploycompress.graph import Array, Graph, Port

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4  # largest absolute difference over largest absolute reference
FINDING_TOLERANCE = 1e-3  # of the largest: a third of a pixel in 320; box sizes are exponentials
MISSING_SHARE = 0.05  # of the things found: ties fall one way or the other
TIED_SHARE = 0.1  # that may be missing beyond what a disturbance explains: exact ties, which nothing disturbs
LARGEST_MISSING_SHARE = 0.5
DISTURBANCE = 1e-3  # of the input: enough to move findings that only rounding tells apart
ROUNDING = 1e-6  # of the input: a disturbance as small as what float32 loses within a few operators
LARGEST_ROUNDING_ERROR = 1e-2


def verify(graph: Graph, reference: Run, expected: list[Array]) -> float:
    """Compare a graph with its source at batch `SAMPLES`.

    Args:
        graph: what was captured.
        reference: runs the source.
        expected: what it gave for `random_inputs(graph.inputs, SAMPLES)`.

    Returns:
        The largest relative difference over all outputs of static size.

    Raises:
        ModelError: they differ by more than `TOLERANCE`, or weights or answers of the source are no finite numbers.
    """
    _refuse_weights(graph, np.isnan, "NaN")
    inputs = random_inputs(graph.inputs, SAMPLES)
    found = onnx_runner(graph.to_onnx(), "the captured graph")(inputs)
    for port, right in zip(graph.outputs, expected, strict=True):
        if not np.all(np.isfinite(right)):
            _refuse_weights(graph, np.isinf, "infinite")
            raise ModelError(f"The model's output {port.name!r} is not finite on random input; check its weights.")
    places = [place for place, port in enumerate(graph.outputs) if _has_findings(port)]
    worst = 0.0
    for place, port in enumerate(graph.outputs):
        if place not in places:
            worst = max(worst, _relative_difference(port.name, expected[place], found[place]))
    if worst > TOLERANCE:
        _refuse_unless_rounding(graph, reference, inputs, expected, worst)
    counts = dict.fromkeys(expected[place].shape[0] for place in places)
    for count in counts:  # what belongs together has equally many rows
        together = [place for place in places if expected[place].shape[0] == count]
        _compare_findings(reference, inputs, together, expected, found)
    return worst


def _refuse_weights(graph: Graph, is_broken: Callable[[Array], NDArray[np.bool_]], what: str) -> None:
    """Name the first tensor that holds broken values. Infinity alone may be meant, as in the mask of attention."""
    for name, values in graph.weights.items():
        if np.issubdtype(values.dtype, np.floating) and is_broken(values).any():
            raise ModelError(
                f"The weights {name!r} are {what} in {int(is_broken(values).sum())} of {values.size} places; did the "
                "training diverge? Give a checkpoint from before that."
            )


def _refuse_unless_rounding(
    graph: Graph, reference: Run, inputs: list[Array], expected: list[Array], worst: float
) -> None:
    """Accept a difference only where rounding explains it: the source's own answer moves as far at a millionth.

    Deep networks that were never trained are so unstable.
    """
    again = reference(_disturbed(inputs, ROUNDING))
    own = max(
        _relative_difference(port.name, right, moved)
        for port, right, moved in zip(graph.outputs, expected, again, strict=True)
        if not _has_findings(port)
    )
    if worst > min(own, LARGEST_ROUNDING_ERROR):
        raise ModelError(
            f"The captured graph differs from the model by {worst:.2e} of its largest output, expected at most "
            f"{TOLERANCE:.0e}: its outputs may depend on the batch, on chance or on Python code that sees values."
        )
    logger.warning(
        "The captured graph differs from the model by %.1e, and the model from itself by %.1e when its input changes "
        "by a millionth: it is unstable; are these trained weights?",
        worst,
        own,
    )


def _disturbed(inputs: list[Array], share: float) -> list[Array]:
    signs = np.random.default_rng(1).choice([-1.0, 1.0], inputs[0].shape)
    return [(inputs[0] * (1 + share * signs)).astype(inputs[0].dtype), *inputs[1:]]


def _compare_findings(
    reference: Run, inputs: list[Array], places: list[int], expected: list[Array], found: list[Array]
) -> None:
    """Compare rows that were found; where many differ, ask how many do when the input changes a little.

    A network that was never trained scores everything alike: then its own findings hang on rounding.
    """
    rows, others = [expected[place] for place in places], [found[place] for place in places]
    if not any(array.size for array in (*rows, *others)):
        logger.warning("The model finds nothing in the random input of the check: these outputs were not compared.")
        return
    if any(r.shape[1:] != o.shape[1:] for r, o in zip(rows, others, strict=True)):
        raise ModelError(f"Findings have shapes {[o.shape for o in others]}, expected {[r.shape for r in rows]}.")
    share = missing_share(rows, others, FINDING_TOLERANCE)
    if share <= MISSING_SHARE:
        return
    again = reference(_disturbed(inputs, DISTURBANCE))
    own = missing_share(rows, [again[place] for place in places], FINDING_TOLERANCE)
    if share > min(1.5 * own + TIED_SHARE, LARGEST_MISSING_SHARE):
        raise ModelError(
            f"{share:.0%} of the model's findings in a random input are missing in the captured graph, expected at "
            f"most {MISSING_SHARE:.0%} (the model itself loses {own:.0%} when the input changes by a thousandth)."
        )
    logger.warning(
        "%.0f %% of the findings differ, and %.0f %% do when the input changes by a thousandth: the check says little; "
        "are these trained weights?",
        100 * share,
        100 * own,
    )


def _has_findings(port: Port) -> bool:
    """Whether an output has one row for each thing found, and not for each sample."""
    return bool(port.shape) and isinstance(port.shape[0], str) and port.shape[0] != BATCH


def _relative_difference(name: str, expected: Array, found: Array) -> float:
    if expected.shape != found.shape:
        raise ModelError(
            f"Output {name!r} has shape {found.shape} in the captured graph but {expected.shape} in the model at batch "
            f"{SAMPLES}; its batch axis cannot be made free: export it with a dynamic batch axis."
        )
    largest = float(np.max(np.abs(expected), initial=0.0))
    difference = float(np.max(np.abs(expected.astype(np.float64) - found.astype(np.float64)), initial=0.0))
    return difference / largest if largest > 0 else difference
