"""How much harm each layer does when it alone is computed in 8 bits: who should stay in single precision first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from deploycompress.errors import DataError
from deploycompress.graph import Array, Graph
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.constants import with_plain_weights
from deploycompress.quantize.layers import layer_name
from deploycompress.quantize.placement import place
from deploycompress.quantize.ranges import Ranges
from deploycompress.quantize.running import Run, check_batch, runner
from deploycompress.quantize.static import quantized


def sensitivity(
    shipped: Graph, batches: Iterable[Array], ranges: Ranges, form: Int8Format
) -> tuple[tuple[str, float], ...]:
    """Quantise one layer at a time, its input and output included, and compare the network's outputs with its own.

    Args:
        shipped: float network with one input, in the form that ships.
        batches: normalised training images, float32 [B, C, H, W]; some dozens tell layers apart.
        ranges: of the network's activations.
        form: how the device wants 8-bit graphs.

    Returns:
        For each layer that can be quantised, by the name of its weight without `.weight`, the mean squared error of
        the outputs relative to their mean square; the most harmful first.

    Raises:
        DataError: there are no batches, or they do not fit.
        ModelError: the network is quantised already.
    """
    held = [check_batch(np.asarray(batch), shipped) for batch in batches]
    if not held:
        raise DataError("There are no calibration images to compare outputs on; give --data.")
    wanted = _outputs(runner(shipped), held)
    names = [layer_name(layer.weight) for layer in place(with_plain_weights(shipped), ()).layers]
    distinct = tuple(dict.fromkeys(names))
    damage = {}
    for name in distinct:
        others = [other for other in distinct if other != name]
        graph = quantized(shipped, ranges, form, higher=others)
        damage[name] = relative_error(_outputs(runner(graph), held), wanted)
    return tuple(sorted(damage.items(), key=lambda item: -item[1]))


def relative_error(outputs: Sequence[Array], wanted: Sequence[Array]) -> float:
    """Give the mean squared difference over all outputs, each relative to its own mean square."""
    shares = [
        float(np.square(output.astype(np.float64) - reference).mean())
        / max(float(np.square(reference.astype(np.float64)).mean()), float(np.finfo(np.float32).tiny))
        for output, reference in zip(outputs, wanted, strict=True)
    ]
    return float(np.mean(shares))


def _outputs(run: Run, batches: Sequence[Array]) -> list[Array]:
    """Run all batches, and join each output over them."""
    return [np.concatenate(parts) for parts in zip(*(run(batch) for batch in batches), strict=True)]
