"""What there is to decide about a teacher, and the table of what each single decision saves, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from deploycompress.channels.records import Channels, Role
from deploycompress.constraint import ANALYTIC_METRICS
from deploycompress.evaluation import Evaluation
from deploycompress.graph import Graph, Node
from deploycompress.pipeline.quanta import group_quanta
from deploycompress.profile import ChannelSteps as Quanta
from deploycompress.search.costs import FACTOR_BOUNDS, LEAST_SAVING, forecast
from deploycompress.search.space import Candidate, Dimension, Kernel, Layer, Metrics, Removal, Space, allowed_widths
from deploycompress.surgery.blocks import Block
from deploycompress.surgery.kernels import kernel_choices
from deploycompress.surgery.merges import layer_before
from deploycompress.surgery.naming import layer_of, weights_read
from deploycompress.surgery.wiring import Wiring, wire

OFFERED = ("residual", "gate", "branch", "layer", "merge")
"""Kinds of blocks that save time; a norm or an activation alone costs a device next to nothing."""

MOST_WIDTHS = 8
"""Widths that a group may take: finer steps than an eighth cost a search more than they are worth."""

MEASURED_WIDTHS = 4
"""Widths of a group that are measured; what others save is read off the line between their neighbours."""

COMPOUNDS = 3
"""Candidates that are measured to see what choices save together."""

Measure = Callable[[Candidate], Evaluation]


def build_space(
    graph: Graph, channels: Channels, offered: Sequence[Block], *, quanta: Quanta, has_kernels: bool = False
) -> Space:
    """List what may go, without the table.

    Args:
        graph: the teacher.
        channels: its channels.
        offered: its blocks; of those inside a residual branch only gates and merges are decided about, for the
            branch can go as a whole.
        quanta: channels the device computes at once, by kind of operator.
        has_kernels: whether the extents of kernels are decided about, too.
    """
    wiring = wire(graph)
    weighted = [index for index in range(len(graph.nodes)) if wiring.is_weighted(index)]
    number = {graph.nodes[index].name: layer for layer, index in enumerate(weighted)}
    skips = [[number[name] for name in block.nodes if name in number] for block in offered if block.kind == "residual"]
    layers = tuple(_layer(wiring, index, _innermost(skips, layer)) for layer, index in enumerate(weighted))
    makers = {name: layer for layer, index in enumerate(weighted) for name in weights_read(wiring, index)}
    named = {layer.name: index for index, layer in enumerate(layers)}
    return Space(
        layers=layers,
        removals=tuple(_removals(wiring, offered, number)),
        dimensions=tuple(_dimensions(channels, makers, group_quanta(wiring, channels, quanta))),
        kernels=tuple(
            Kernel(layer=choice.layer, index=named[choice.layer], sizes=(*reversed(choice.sizes), max(choice.kernel)))
            for choice in kernel_choices(graph)
            if has_kernels and choice.layer in named
        ),
    )


def singles(space: Space) -> list[Candidate]:
    """List the candidates of single decisions that `with_savings` measures."""
    return [
        *(space.candidate(remove=[one.block]) for one in space.removals),
        *(
            space.candidate(widths={one.group: width})
            for one in space.dimensions
            if one.is_free
            for width in _measured_widths(one)
        ),
        *(space.candidate(kernels={one.layer: size}) for one in space.kernels for size in one.sizes),
    ]


def with_savings(space: Space, measure: Measure, on_measurement: Callable[[], None] = lambda: None) -> Space:
    """Measure what every single decision saves, scaled to what many of them save together.

    A decision that cannot be carried out alone is taken out of the space.

    Args:
        space: without a table.
        measure: slims and measures, without accuracy; equal structures cost it nothing.
        on_measurement: told after each.
    """
    teacher = measure(Candidate()).metrics

    def saving(candidate: Candidate) -> Metrics | None:
        evaluation = measure(candidate)
        on_measurement()
        if evaluation.is_degenerate:
            return None
        return {name: value - evaluation.metrics.get(name, value) for name, value in teacher.items()}

    removals = [(one, saving(space.candidate(remove=[one.block]))) for one in space.removals]
    table = replace(
        space,
        teacher=dict(teacher),
        removals=tuple(replace(one, savings=saved) for one, saved in removals if saved is not None),
        dimensions=tuple(_with_savings(space, dimension, saving) for dimension in space.dimensions),
        kernels=tuple(one for kernel in space.kernels if (one := _with_kernel_savings(space, kernel, saving))),
    )
    together = [(one, saved) for one in _compounds(table) if (saved := saving(one)) is not None]
    return _scaled(table, _factors(table, together))


def measurements_needed(space: Space) -> int:
    """Foresee how many times `with_savings` measures."""
    return len(singles(space)) + COMPOUNDS


def _layer(wiring: Wiring, index: int, skip: tuple[int, int]) -> Layer:
    node = wiring.graph.nodes[index]
    name, (start, end) = layer_of(wiring, [index]) or node.name, skip
    shape = wiring.graph.shapes.get(node.outputs[0], ())
    if node.op not in ("Conv", "ConvTranspose"):
        outputs = shape[-1] if shape else 1
        kind = "linear" if node.op in ("Gemm", "MatMul") else "other"
        return Layer(name=name, kind=kind, outputs=max(outputs, 1), skip_start=start, skip_end=end)
    kernel = wiring.graph.weights[node.inputs[1]].shape[2:] if node.inputs[1] in wiring.graph.weights else (1,)
    outputs = shape[1] if len(shape) > 1 else 1
    return Layer(
        name=name,
        kind="depthwise" if _attribute(node, "group") == outputs > 1 else "conv",
        kernel=max(kernel, default=1),
        stride=_attribute(node, "strides"),
        padding=_attribute(node, "pads", default=0),
        outputs=max(outputs, 1),
        skip_start=start,
        skip_end=end,
    )


def _attribute(node: Node, name: str, default: int = 1) -> int:
    found = node.attributes.get(name, default)
    return int(np.max(found, initial=default) if isinstance(found, Sequence | np.ndarray) else found)


def _innermost(skips: Sequence[Sequence[int]], layer: int) -> tuple[int, int]:
    """Give how far a layer is from the start and the end of the shortest skip connection around it."""
    around = min((skip for skip in skips if layer in skip), key=len, default=None)
    return (around.index(layer) + 1, len(around) - around.index(layer)) if around else (0, 0)


def _removals(wiring: Wiring, offered: Sequence[Block], number: Mapping[str, int]) -> Iterator[Removal]:
    whole = [frozenset(block.nodes) for block in offered if block.kind in ("residual", "branch")]
    candidates = [
        block
        for block in offered
        if block.kind in OFFERED and not (block.kind == "layer" and any(set(block.nodes) < nodes for nodes in whole))
    ]
    crossing = _crossing(candidates)
    for block in candidates:
        layers = _layers_of(wiring, block, number)
        if layers and block.name not in crossing:
            yield Removal(block=block.name, layers=layers)


def _layers_of(wiring: Wiring, block: Block, number: Mapping[str, int]) -> tuple[int, ...]:
    """List the layers that go with a block: of a merge also the one before it, whose channels nobody sees any more."""
    names = set(block.nodes)
    before = layer_before(wiring, block.instead) if block.kind == "merge" else None
    if before is not None:
        names.add(wiring.graph.nodes[before].name)
    return tuple(sorted(number[name] for name in names if name in number))


def _crossing(candidates: Sequence[Block]) -> frozenset[str]:
    """Name merges that share nodes with an earlier block without one lying in the other: the two could not both go."""
    kept = [frozenset(block.nodes) for block in candidates if block.kind != "merge"]
    found = set()
    for block in candidates:
        nodes = frozenset(block.nodes)
        if block.kind != "merge":
            continue
        if any(nodes & other and not (nodes <= other or other <= nodes) for other in kept):
            found.add(block.name)
        else:
            kept.append(nodes)
    return frozenset(found)


def _dimensions(channels: Channels, makers: Mapping[str, int], quanta: Sequence[int]) -> Iterator[Dimension]:
    made_by: dict[int, set[int]] = {}
    for tie in channels.ties:
        if tie.role is Role.MAKES and tie.tensor in makers:
            for group in np.unique(channels.group_of[tie.channels]):
                made_by.setdefault(int(group), set()).add(makers[tie.tensor])
    for index, group in enumerate(channels.groups):
        if not group.frozen:
            widths, layers = (
                allowed_widths(group.width, quanta[index], most=MOST_WIDTHS),
                tuple(sorted(made_by.get(index, ()))),
            )
            yield Dimension(group=group.name, width=group.width, widths=widths, layers=layers)


def _with_savings(space: Space, dimension: Dimension, saving: Callable[[Candidate], Metrics | None]) -> Dimension:
    if not dimension.is_free:
        return dimension
    known = {
        width: saved
        for width in _measured_widths(dimension)
        if (saved := saving(space.candidate(widths={dimension.group: width}))) is not None
    }
    if not known:
        return replace(dimension, widths=(dimension.width,))
    at = sorted(known)
    names = known[at[0]]
    return replace(
        dimension,
        savings=tuple(
            {
                name: float(np.interp(width, [*at, dimension.width], [*(known[x][name] for x in at), 0.0]))
                for name in names
            }
            for width in dimension.widths
        ),
    )


def _compounds(space: Space) -> list[Candidate]:
    """Draw candidates that take about half of everything: near there limits usually lie."""
    rng = np.random.default_rng(0)
    return [
        space.candidate(
            remove=[one.block for one in space.removals if rng.random() < 0.5],
            widths={one.group: int(rng.choice(one.widths)) for one in space.free},
            kernels={one.layer: int(rng.choice(one.sizes)) for one in space.kernels},
        )
        for _ in range(COMPOUNDS)
    ]


def _factors(table: Space, together: Sequence[tuple[Candidate, Metrics]]) -> dict[str, float]:
    """Give by metric how much choices save together over what they save one by one.

    A single choice saves a few hundredths of the latency, which is what a short measurement may be off by; many
    together save half of it.
    """
    foreseen = [forecast(table, candidate) for candidate, _ in together]
    low, high = FACTOR_BOUNDS
    factors = {}
    for name, whole in table.teacher.items():
        if name in ANALYTIC_METRICS:
            continue  # counted, not measured: there is no noise to take out
        alone = sum(whole - metrics[name] for metrics in foreseen)
        saved = sum(metrics[name] for _, metrics in together)
        if alone > LEAST_SAVING * whole:
            factors[name] = min(max(saved / alone, low), high)
    return factors


def _scaled(table: Space, factors: Mapping[str, float]) -> Space:
    def scaled(savings: Metrics) -> dict[str, float]:
        return {name: value * factors.get(name, 1.0) for name, value in savings.items()}

    return replace(
        table,
        removals=tuple(replace(one, savings=scaled(one.savings)) for one in table.removals),
        dimensions=tuple(replace(one, savings=tuple(map(scaled, one.savings))) for one in table.dimensions),
        kernels=tuple(replace(one, savings=tuple(map(scaled, one.savings))) for one in table.kernels),
    )


def _with_kernel_savings(space: Space, kernel: Kernel, saving: Callable[[Candidate], Metrics | None]) -> Kernel | None:
    found = [saving(space.candidate(kernels={kernel.layer: size})) for size in kernel.sizes]
    savings = tuple(saved for saved in found if saved is not None)
    return replace(kernel, savings=savings) if len(savings) == len(kernel.sizes) else None


def _measured_widths(dimension: Dimension) -> tuple[int, ...]:
    smaller = dimension.widths[:-1]
    picked = np.unique(np.linspace(0, len(smaller) - 1, min(MEASURED_WIDTHS, len(smaller))).round().astype(int))
    return tuple(smaller[index] for index in picked)
