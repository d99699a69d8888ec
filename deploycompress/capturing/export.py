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
from deploycompress.capturing.outputs import named_tensors
from deploycompress.capturing.pooling import PlainPooling
from deploycompress.errors import ModelError, UsageError
from deploycompress.graph import Array

EXPORT_OPSET = 17  # read by every ONNX Runtime since 1.12


def input_names(count: int) -> tuple[str, ...]:
    """Name a module's inputs: `input`, or `input_0`, `input_1`, ... where there are several."""
    return ("input",) if count == 1 else tuple(f"input_{index}" for index in range(count))


def export_module(
    module: nn.Module, examples: tuple[Tensor, ...], outputs: tuple[str, ...], opset: int, *, is_batch_open: bool
) -> onnx.ModelProto:
    """Export a module in evaluation mode, with adaptive pools rewritten where the exporter cannot do without.

    Args:
        module: what to export; must be in evaluation mode.
        examples: one input each, on the module's device, batch first.
        outputs: names of the tensors the module returns.
        opset: ONNX operator set.
        is_batch_open: whether the first axis of inputs and outputs is the batch and may have any size.

    Raises:
        ModelError: the exporter does not know an operation of the module.
    """
    try:
        return _export(module, examples, outputs, opset, is_batch_open=is_batch_open)
    except ModelError:
        if isinstance(module, (torch.jit.ScriptModule, torch.fx.GraphModule)):  # compiled: cannot be intercepted
            raise
    with PlainPooling():
        return _export(module, examples, outputs, opset, is_batch_open=is_batch_open)


def _export(
    module: nn.Module, examples: tuple[Tensor, ...], outputs: tuple[str, ...], opset: int, *, is_batch_open: bool
) -> onnx.ModelProto:
    names = input_names(len(examples))
    buffer = io.BytesIO()
    try:
        with _quiet(), _plain_attention(), torch.no_grad():
            torch.onnx.export(
                module,
                examples,
                buffer,  # type: ignore[arg-type]  # files in memory are fine with this exporter
                dynamo=False,
                training=torch.onnx.TrainingMode.PRESERVE,
                do_constant_folding=False,
                opset_version=opset,
                input_names=list(names),
                output_names=list(outputs),
                dynamic_axes={name: {0: BATCH} for name in (*names, *outputs)} if is_batch_open else None,
            )
    except (*FACTORY_ERRORS, torch.onnx.errors.OnnxExporterError, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0][:300]
        shapes = ", ".join(str(tuple(example.shape)) for example in examples)
        raise ModelError(
            f"{type(module).__name__} cannot be exported to ONNX at input shape {shapes}: {reason} "
            "Another --input-shape may help, or export it yourself and give the .onnx file."
        ) from error
    return onnx.load_from_string(buffer.getvalue())


def run_module(module: nn.Module, batches: tuple[Tensor, ...]) -> dict[str, Array]:
    """Run a module without gradients and give its outputs as arrays by name.

    Raises:
        UsageError: the module does not accept this input.
        ModelError: it returns something other than tensors.
    """
    try:
        with _quiet(), torch.no_grad():
            result = module(*batches)
    except (*FACTORY_ERRORS, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0][:300]
        shapes = ", ".join(str(tuple(batch.shape)) for batch in batches)
        raise UsageError(
            f"{type(module).__name__} does not accept input of shape {shapes}: {reason}; see --input-shape."
        ) from error
    tensors = named_tensors(result, type(module).__name__)
    return {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


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
        for category in (UserWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category, module=r"torch(vision)?(\.|$)")
        warnings.filterwarnings("ignore", message="To copy construct from a tensor")  # right while tracing
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
