"""Writes a torch module as ONNX, with batch norm as nodes and parameters under their torch names.

The TorchScript exporter does this in under a second and is the only one that takes TorchScript files; torch calls it
legacy, which is torch's business and not the user's.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator

import onnx
import torch
from torch import Tensor, nn

from deploycompress.capturing.draft import BATCH
from deploycompress.capturing.importing import FACTORY_ERRORS
from deploycompress.errors import ModelError, UsageError
from deploycompress.graph import Array

EXPORT_OPSET = 17  # read by every ONNX Runtime since 1.12


def export_module(module: nn.Module, example: Tensor, outputs: int, opset: int) -> onnx.ModelProto:
    """Export a module in evaluation mode.

    Args:
        module: what to export; must be in evaluation mode.
        example: input on the module's device, batch first.
        outputs: how many tensors the module returns.
        opset: ONNX operator set.

    Raises:
        ModelError: the exporter does not know an operation of the module.
    """
    names = ["output"] if outputs == 1 else [f"output_{index}" for index in range(outputs)]
    buffer = io.BytesIO()
    try:
        with _quiet(), _plain_attention(), torch.no_grad():
            torch.onnx.export(
                module,
                (example,),
                buffer,  # type: ignore[arg-type]  # files in memory are fine with this exporter
                dynamo=False,
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
                opset_version=opset,
                input_names=["input"],
                output_names=names,
                dynamic_axes={name: {0: BATCH} for name in ("input", *names)},
            )
    except (*FACTORY_ERRORS, torch.onnx.errors.OnnxExporterError, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0][:300]
        raise ModelError(
            f"{type(module).__name__} cannot be exported to ONNX at input shape {tuple(example.shape)}: {reason} "
            "Another --input-shape may help, or export it yourself and give the .onnx file."
        ) from error
    return onnx.load_from_string(buffer.getvalue())


def run_module(module: nn.Module, batch: Tensor) -> list[Array]:
    """Run a module without gradients and give its outputs as arrays.

    Raises:
        UsageError: the module does not accept this input.
        ModelError: it returns something other than tensors.
    """
    try:
        with _quiet(), torch.no_grad():
            result = module(batch)
    except (*FACTORY_ERRORS, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0][:300]
        raise UsageError(
            f"{type(module).__name__} does not accept input of shape {tuple(batch.shape)}: {reason}; see --input-shape."
        ) from error
    tensors = [result] if isinstance(result, Tensor) else list(result) if isinstance(result, (tuple, list)) else []
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise ModelError(f"{type(module).__name__} returns a {type(result).__name__}, expected a tensor or several.")
    return [tensor.detach().cpu().numpy() for tensor in tensors]


def tied_parameters(module: nn.Module) -> dict[str, str]:
    """Map each parameter name to the first name of the parameters that share its memory."""
    first: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    tied: dict[str, str] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and tensor.numel():
            tied[name] = first.setdefault((tensor.data_ptr(), tuple(tensor.shape), tensor.stride()), name)
    return tied


@contextlib.contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode for a while, and each of its parts back as it was."""
    before = {part: part.training for part in module.modules()}
    if not isinstance(module, torch.fx.GraphModule):  # exported programs have their mode built in
        module.eval()
    try:
        yield
    finally:
        for part, training in before.items():
            if part.training != training:
                part.training = training


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the tracer's and the exporter's own messages from the user; errors still pass."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _descriptor_discarded(1):
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch(\.|$)")
        yield


@contextlib.contextmanager
def _descriptor_discarded(descriptor: int) -> Iterator[None]:
    """Discard what compiled code writes: on failure the exporter dumps its whole graph to standard output."""
    sys.stdout.flush()
    saved, discarded = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    os.dup2(discarded, descriptor)
    try:
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
        os.close(discarded)


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """Let attention run as matrix products for a while; its fused kernel has no ONNX form."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
