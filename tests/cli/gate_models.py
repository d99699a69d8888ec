"""Small models of very different speed, with a profile of this machine and one of another."""

from __future__ import annotations

from pathlib import Path

from deploycompress.graph import Graph
from tests.build import start
from tests.shared import ROOT


def network(width: int) -> Graph:
    """Build three convolutions; 64 channels take more than ten times as long as 8."""
    net = start()
    x = "x"
    for _ in range(3):
        x = net.op("Relu", net.conv(x, width))
    return net.finish(x, input_shape=(3, 24, 24))


SOON = ["--starts", "2", "--max-seconds", "0.5"]


def lay_out(folder: Path) -> None:
    """Write `slow.onnx`, `fast.onnx` and the profiles `here.toml` and `elsewhere.toml`."""
    network(64).save(folder / "slow.onnx")
    network(8).save(folder / "fast.onnx")
    profile = (ROOT / "profiles" / "x86.toml").read_text()
    (folder / "here.toml").write_text(profile)
    (folder / "elsewhere.toml").write_text(profile.replace('arch = "x86_64"', 'arch = "riscv64"'))
