"""Students as torch-pruning makes them: global scores, pruned step by step until a MAC target is reached.

torch-pruning takes a zero-padded (option A) shortcut for an elementwise operation: it ties channel i before the padding
to channel i behind it, which is another one. So it is run in two ways that are both sound:

* widths inside the blocks alone, on the network as it is, with the layers that write the residual streams left out;
* all widths, on the same network with each such shortcut written as the 1x1 convolution that computes it (one 1 in
  each row that is not padding): the form of the shortcuts in torch-pruning's own ResNet-56. The convolution stays in
  the student and is trained with it.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deploycompress.errors import UsageError
from deploycompress.train.batches import Batch
from tools.cifar_resnet import Block, CifarResNet

STEPS = 400  # as in torch-pruning's own scripts
RESCORED_EVERY = 20  # steps between gradients of the network as it has become
INPUT_SHAPE = (1, 3, 32, 32)

Batches = Callable[[], Iterator[Batch]]


class Importance(StrEnum):
    """What torch-pruning ranks channels by."""

    MAGNITUDE = "magnitude"
    TAYLOR = "taylor"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneSettings:
    """How to prune.

    Attributes:
        importance: of channels.
        round_to: widths become multiples of it, downwards; `None` leaves them.
        mac_reduction: MACs before over MACs afterwards, at least.
        prunes_streams: whether the widths of the residual streams may shrink, or those inside the blocks alone.
        steps: in which the whole network would be pruned away.
    """

    importance: Importance
    round_to: int | None
    mac_reduction: float
    prunes_streams: bool = True
    steps: int = STEPS


def prune(network: CifarResNet, settings: PruneSettings, batches: Batches) -> nn.Module:
    """Prune a copy of a network until it has few enough MACs.

    Args:
        network: unchanged.
        settings: how.
        batches: gives, each time it is called, the same normalised images [B, C, H, W] and labels [B].

    Raises:
        UsageError: the target cannot be reached.
    """
    pruning = importlib.import_module("torch_pruning")
    student = (with_projections(network) if settings.prunes_streams else copy.deepcopy(network)).eval()
    example = torch.zeros(INPUT_SHAPE)
    pruner = _pruner(pruning, student, settings, example)
    macs = _mac_counter(student, example)
    before = macs()
    for step in range(settings.steps - 1):
        if settings.importance is Importance.TAYLOR and step % RESCORED_EVERY == 0:
            _take_gradients(student, batches)
        for group in pruner.step(interactive=True):
            group.prune()
            if before / macs() >= settings.mac_reduction:
                student.zero_grad(set_to_none=True)
                return student
    raise UsageError(f"torch-pruning reached {before / macs():.2f}x fewer MACs with {settings}; choose a lower target.")


class ProjectedBlock(nn.Module):
    """A block whose zero-padded shortcut is the 1x1 convolution that computes the same."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.conv1, self.bn1, self.conv2, self.bn2 = block.conv1, block.bn1, block.conv2, block.bn2
        inputs, outputs = block.conv1.in_channels, block.conv2.out_channels
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=block.stride, bias=False)
        with torch.no_grad():
            self.shortcut.weight.zero_()
            for channel in range(inputs):
                self.shortcut.weight[block.padding + channel, channel] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C_in, H, W] to [B, C_out, H/stride, W/stride]."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


def with_projections(network: CifarResNet) -> CifarResNet:
    """Copy a network and write its zero-padded shortcuts as convolutions; the function stays the same."""
    blocks = sum(isinstance(part, Block) for part in network.modules())
    projected = CifarResNet(blocks // 3, network.linear.out_features)
    projected.load_state_dict(network.state_dict())
    for stage in (projected.layer1, projected.layer2, projected.layer3):
        for place, block in enumerate(stage):
            if isinstance(block, Block) and (block.stride > 1 or block.padding):
                stage[place] = ProjectedBlock(block)
    return projected


def _pruner(pruning: Any, student: CifarResNet, settings: PruneSettings, example: Tensor) -> Any:  # Any: no types there
    scores = {
        Importance.MAGNITUDE: lambda: pruning.importance.GroupMagnitudeImportance(p=2),
        Importance.TAYLOR: lambda: pruning.importance.GroupTaylorImportance(),
    }
    fixed: list[nn.Module] = [student.linear]
    if not settings.prunes_streams:
        fixed += [student.conv1, *(part for name, part in student.named_modules() if name.endswith("conv2"))]
    return pruning.pruner.BasePruner(
        student,
        example,
        importance=scores[settings.importance](),
        global_pruning=True,
        pruning_ratio=1.0,
        iterative_steps=settings.steps,
        ignored_layers=fixed,
        round_to=settings.round_to,
    )


def _take_gradients(student: nn.Module, batches: Batches) -> None:
    student.zero_grad(set_to_none=True)
    for images, labels in batches():
        if labels is None:
            raise UsageError("Gradients of the loss need labelled images.")
        F.cross_entropy(student(images), labels).backward()  # type: ignore[no-untyped-call]


def _mac_counter(student: nn.Module, example: Tensor) -> Callable[[], int]:
    """Make a function that counts the MACs of a network as it is now; sizes of images do not change by pruning."""
    layers = [part for part in student.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    places: dict[nn.Module, int] = {}

    def note(layer: nn.Module, inputs: object, output: Tensor) -> None:
        del inputs
        places[layer] = output[0].numel() // output.shape[1]

    hooks = [layer.register_forward_hook(note) for layer in layers]
    with torch.no_grad():
        student(example)
    for hook in hooks:
        hook.remove()
    return lambda: sum(layer.weight.numel() * places[layer] for layer in layers)
