"""Where and in which arithmetic to train: decided by what the processor can do, so a machine always decides alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How the passes of a network are carried out.

    Attributes:
        device: where.
        bf16: convolutions and matrix products in bfloat16; weights and statistics stay float32.
        channels_last: activations lie in memory as [B, H, W, C].
    """

    device: torch.device
    bf16: bool = False
    channels_last: bool = True

    @property
    def memory_format(self) -> torch.memory_format:
        """Give the layout to bring inputs to."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[object]:
        """Open the context in which forward passes run."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def describe(self) -> str:
        """Name the choice for reports."""
        layout = "channels_last" if self.channels_last else "contiguous"
        return f"{self.device.type} {'bf16' if self.bf16 else 'fp32'} {layout}"


def training_compute(device: torch.device | None = None) -> Compute:
    """Choose for training: CUDA when there, bfloat16 where the hardware has instructions for it.

    Args:
        device: `None` chooses.
    """
    chosen = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Compute(device=chosen, bf16=_has_bf16(chosen))


def evaluation_compute(device: torch.device | None = None) -> Compute:
    """Choose for evaluation: the same device, in float32, as what ships."""
    return Compute(device=training_compute(device).device)


def limit_threads(cores: int) -> None:
    """Let torch compute with no more threads than there are cores for; more of them wait for each other."""
    if torch.get_num_threads() > cores:
        torch.set_num_threads(cores)


def device_of(module: nn.Module) -> torch.device:
    """Find where a network's parameters lie."""
    parameter = next(module.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


@contextmanager
def placed_on(device: torch.device, *modules: nn.Module) -> Iterator[None]:
    """Move networks to a device and back to where they were."""
    homes = [device_of(module) for module in modules]
    try:
        for module in modules:
            module.to(device)
        yield
    finally:
        for module, home in zip(modules, homes, strict=True):
            module.to(home)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    features = torch.cpu.get_capabilities()
    return any(bool(features.get(name)) for name in ("avx512_bf16", "amx_bf16"))
