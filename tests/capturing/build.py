"""Small networks and the files they may come in."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

INPUT_SHAPE = (1, 3, 8, 8)


class Net(nn.Module):
    """Convolution, batch norm and a head whose reshape names the batch size."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(width * 64, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.conv(x)))
        y: Tensor = self.head(self.drop(x.view(x.size(0), -1)))
        return y


def seeded_net(width: int = 4) -> Net:
    net = Net(width)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    return net


def exported_onnx(module: nn.Module, *, opset: int = 17, dynamic: tuple[int, ...] = (0,)) -> onnx.ModelProto:
    buffer = io.BytesIO()
    axes = {"image": {axis: f"d{axis}" for axis in dynamic}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (torch.zeros(INPUT_SHAPE),),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=opset,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            input_names=["image"],
            output_names=["scores"],
            dynamic_axes=axes,
        )
    return onnx.load_from_string(buffer.getvalue())


def save_torchscript(module: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module.eval(), torch.zeros(INPUT_SHAPE)).save(str(path))  # type: ignore[no-untyped-call]


def save_program(module: nn.Module, path: Path, *, batch: int, dynamic: bool) -> None:
    example = torch.zeros((batch, *INPUT_SHAPE[1:]))
    shapes = ({0: torch.export.Dim.DYNAMIC},) if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module.eval(), (example,), dynamic_shapes=shapes), str(path))
