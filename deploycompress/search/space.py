"""What may be taken from a teacher, as policies see it: its layers, and three kinds of choice about them.

A candidate is one decision about everything. Which channels stay at a width is not decided here; whoever slims knows
their importance. Nothing here knows ONNX: the records are filled by whoever has the graph.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploycompress.errors import PlanError

Metrics = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer, in the order of the graph: N2N's x_t before it is normalised (section 3.2.1).

    Attributes:
        name: of its weight, or of its node when it has none.
        kind: `conv`, `depthwise`, `linear`, `pool` or `other`.
        kernel: largest extent of its window; 1 without one.
        stride: largest stride; 1 without one.
        padding: largest padding; 0 without one.
        outputs: channels it gives.
        skip_start: layers since the innermost skip connection around it began, from 1; 0 when there is none.
        skip_end: layers until that ends, from 1; 0 when there is none.
    """

    name: str
    kind: str
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    outputs: int = 1
    skip_start: int = 0
    skip_end: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A block that may go whole.

    Attributes:
        block: its name.
        layers: indices of the layers that go with it, ascending.
        savings: by metric, what the teacher saves when this block alone goes.
    """

    block: str
    layers: tuple[int, ...]
    savings: Metrics = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """A channel group that may be narrowed.

    Attributes:
        group: name of the channel group.
        width: channels of the teacher.
        widths: widths the group may take, ascending; the last is `width`.
        layers: indices of the layers that produce its channels; when all of them go, so does the group.
        savings: for each of `widths`, by metric, what the teacher saves when this group alone is narrowed to it.
    """

    group: str
    width: int
    widths: tuple[int, ...]
    layers: tuple[int, ...] = ()
    savings: tuple[Metrics, ...] = ()

    def __post_init__(self) -> None:
        if not self.widths or self.widths[0] < 1 or list(self.widths) != sorted(set(self.widths)):
            raise ValueError(f"Group {self.group!r}: allowed widths must ascend from at least 1, got {self.widths}.")
        if self.widths[-1] != self.width:
            raise ValueError(f"Group {self.group!r}: the largest allowed width is not its width {self.width}.")
        if self.savings and len(self.savings) != len(self.widths):
            raise ValueError(f"Group {self.group!r} has {len(self.widths)} widths and {len(self.savings)} savings.")

    @property
    def is_free(self) -> bool:
        """Whether there is a choice of width."""
        return len(self.widths) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A convolution whose kernel may shrink.

    Attributes:
        layer: its name in a plan.
        index: which of the space's layers it is.
        sizes: extents it may have, ascending; the last is the teacher's.
        savings: for each of `sizes`, by metric, what the teacher saves when this kernel alone shrinks to it.
    """

    layer: str
    index: int
    sizes: tuple[int, ...]
    savings: tuple[Metrics, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One decision about everything: what goes and how wide the rest is. What is not named stays as it is.

    Attributes:
        remove: names of the blocks that go, ascending.
        widths: channels that stay, by group of the teacher.
        kernels: extents that stay, by layer.
    """

    remove: tuple[str, ...] = ()
    widths: Mapping[str, int] = field(default_factory=dict)
    kernels: Mapping[str, int] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.to_json())

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return not (self.remove or self.widths or self.kernels)

    def to_json(self) -> str:
        """Write it as JSON; equal candidates give equal text."""
        record = {"remove": list(self.remove), "widths": dict(self.widths), "kernels": dict(self.kernels)}
        return json.dumps(record, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Everything there is to decide about a teacher.

    Attributes:
        layers: in the order of the graph.
        removals: blocks that may go.
        dimensions: channel groups, those without a choice included.
        kernels: convolutions whose kernels may shrink.
        teacher: the teacher's metrics, those that need no training.
    """

    layers: tuple[Layer, ...] = ()
    removals: tuple[Removal, ...] = ()
    dimensions: tuple[Dimension, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    teacher: Metrics = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, names in (
            ("channel group", [dimension.group for dimension in self.dimensions]),
            ("block", [removal.block for removal in self.removals]),
            ("kernel", [kernel.layer for kernel in self.kernels]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"A {what} appears twice among {names}.")

    @property
    def free(self) -> tuple[Dimension, ...]:
        """Dimensions with more than one allowed width: those a policy has a say in."""
        return tuple(dimension for dimension in self.dimensions if dimension.is_free)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to decide."""
        return not (self.removals or self.free or self.kernels)

    def gone(self, remove: Sequence[str]) -> frozenset[int]:
        """Give the layers that go with some blocks."""
        taken = set(remove)
        return frozenset(index for removal in self.removals if removal.block in taken for index in removal.layers)

    def candidate(
        self,
        *,
        remove: Sequence[str] = (),
        widths: Mapping[str, int] | None = None,
        kernels: Mapping[str, int] | None = None,
    ) -> Candidate:
        """Make a candidate, without what changes nothing: full widths, and groups and kernels of layers that go.

        Raises:
            PlanError: a name is unknown, or a width or extent is not allowed.
        """
        blocks = {removal.block for removal in self.removals}
        unknown = sorted(set(remove) - blocks)
        if unknown:
            raise PlanError(f"Block {unknown[0]!r} cannot be removed; it is not in the space.")
        gone = self.gone(remove)
        return Candidate(
            remove=tuple(sorted(set(remove))),
            widths=self._changed_widths(widths or {}, gone),
            kernels=self._changed_kernels(kernels or {}, gone),
        )

    def _changed_widths(self, widths: Mapping[str, int], gone: frozenset[int]) -> dict[str, int]:
        known = {dimension.group: dimension for dimension in self.dimensions}
        changed = {}
        for group in sorted(widths):
            dimension, width = known.get(group), widths[group]
            if dimension is None or width not in dimension.widths:
                allowed = "none, the group is unknown" if dimension is None else dimension.widths
                raise PlanError(f"Group {group!r} cannot have {width} channels; allowed: {allowed}.")
            if width < dimension.width and not _is_gone(dimension.layers, gone):
                changed[group] = width
        return changed

    def _changed_kernels(self, kernels: Mapping[str, int], gone: frozenset[int]) -> dict[str, int]:
        known = {kernel.layer: kernel for kernel in self.kernels}
        changed = {}
        for layer in sorted(kernels):
            kernel, size = known.get(layer), kernels[layer]
            if kernel is None or size not in kernel.sizes:
                allowed = "none, the layer is unknown" if kernel is None else kernel.sizes
                raise PlanError(f"The kernel of {layer!r} cannot have extent {size}; allowed: {allowed}.")
            if size < kernel.sizes[-1] and kernel.index not in gone:
                changed[layer] = size
        return changed


def _is_gone(layers: Sequence[int], gone: frozenset[int]) -> bool:
    return bool(layers) and gone.issuperset(layers)


def allowed_widths(width: int, quantum: int, *, most: int | None = None) -> tuple[int, ...]:
    """List the multiples of a channel quantum below a width, and the width itself.

    Args:
        width: channels of the teacher, at least 1.
        quantum: channels the device computes at once, at least 1.
        most: number of widths; where there are more, they lie several quanta apart. None lists all.
    """
    quanta = -(-width // quantum)
    step = quantum if most is None else quantum * -(-quanta // most)
    return (*range(step, width, step), width)


def snap(width: float, widths: Sequence[int]) -> int:
    """Round a real-valued width to the nearest allowed one, to the wider of two equally near."""
    above = min(bisect_left(widths, width), len(widths) - 1)
    below = max(above - 1, 0)
    return widths[below] if width - widths[below] < widths[above] - width else widths[above]
