"""Loads PyTorch files into modules; only `trust` lets a file bring code."""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deploycompress.capturing.allowlist import layer_class, user_classes
from deploycompress.capturing.file_kind import FileKind
from deploycompress.capturing.importing import FACTORY_ERRORS, build_architecture, current_folder_importable
from deploycompress.capturing.pickle_names import pickled_names
from deploycompress.errors import ModelError, UntrustedModelError, UsageError

WEIGHT_KEYS = ("state_dict", "model_state_dict", "model")  # where training scripts put the weights of a checkpoint
# Names that torch's restricted loader knows itself; left out when a refusal says what was found.
TORCH_OWN = ("torch._utils.", "torch._tensor.", "torch.nn.parameter.", "torch.serialization.", "torch.storage.")
TORCH_OWN_NAMES = ("torch.Size", "torch.Tensor", "torch.device")
PLAIN_NAMES = ("collections.OrderedDict", "collections.Counter", "builtins.set", "builtins.bytearray", "_codecs.encode")
NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModule:
    """A module with what its file says about the input.

    Attributes:
        module: ready to call, not yet in evaluation mode.
        input_shape: shape the file records, batch first, or None.
        fixed_batch: the only batch size it accepts, or None when any will do.
    """

    module: nn.Module
    input_shape: tuple[int, ...] | None = None
    fixed_batch: int | None = None


def load_module(path: Path, kind: FileKind, *, arch: str | None, trust: bool, allow: tuple[str, ...]) -> LoadedModule:
    """Load a PyTorch file of any kind.

    Args:
        path: the file.
        kind: what it is.
        arch: factory for the module a state dict belongs to.
        trust: whether code in the file may run.
        allow: classes that a pickled module may use beyond torch's and torchvision's layers.

    Raises:
        UntrustedModelError: the file needs classes or code that nobody allowed.
        ModelError: the file is damaged, or holds neither a module nor weights that fit.
        UsageError: `arch` or `allow` make no sense here.
    """
    if kind in (FileKind.TORCHSCRIPT, FileKind.EXPORTED_PROGRAM):
        if not trust:
            raise UntrustedModelError(
                f"{path} is {kind.value}, which runs code when loaded; give --trust if you know where it comes from, "
                "or save the weights (torch.save(model.state_dict(), ...)) and name the network with --arch."
            )
        return _load_program(path, kind)
    content = _load_pickle(path, kind, trust=trust, allow=allow)
    if isinstance(content, nn.Module):
        if arch is not None:
            raise UsageError(f"{path} holds a whole {type(content).__name__}, so --arch {arch} does not apply.")
        return LoadedModule(module=content)
    return LoadedModule(module=_module_with_weights(path, _state_dict(path, content), arch))


def _load_program(path: Path, kind: FileKind) -> LoadedModule:
    try:
        with _foreign_warnings_ignored():
            if kind is FileKind.TORCHSCRIPT:
                return LoadedModule(module=torch.jit.load(str(path), map_location="cpu"))  # type: ignore[no-untyped-call]
            program = torch.export.load(str(path))
    except (*FACTORY_ERRORS, TypeError, ValueError, pickle.UnpicklingError, EOFError) as error:
        raise ModelError(
            f"{path} is {kind.value} but cannot be loaded: {_first_line(error)}; save it again."
        ) from error
    inputs = program.graph_signature.user_inputs
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    if len(placeholders) != 1:
        raise ModelError(f"{path} takes {len(placeholders)} inputs, expected one; export a network with one input.")
    sizes = placeholders[0].meta["val"].shape
    fixed_batch = sizes[0] if isinstance(sizes[0], int) else None
    known = all(isinstance(size, int) for size in sizes[1:])
    shape = (fixed_batch or 1, *sizes[1:]) if known else None
    return LoadedModule(module=program.module(), input_shape=shape, fixed_batch=fixed_batch)


def _load_pickle(path: Path, kind: FileKind, *, trust: bool, allow: tuple[str, ...]) -> object:
    names = pickled_names(path)
    named = user_classes(allow)
    classes = {name: found for name in names if (found := named.get(name) or layer_class(name))}
    try:
        # torch accepts (class, name) pairs: the name is what the pickle says, such as __main__.Net
        with (
            torch.serialization.safe_globals([(found, name) for name, found in classes.items()]),
            _foreign_warnings_ignored(),
        ):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = [name for name in names if name not in classes and not _is_torch_own(name)]
        if trust:
            return _load_trusted_pickle(path)
        if not refused:
            raise ModelError(f"{path} is {kind.value} but damaged or of an unknown form; save it again.") from error
        raise UntrustedModelError(_refusal(path, refused)) from error
    except (*FACTORY_ERRORS, TypeError, ValueError, EOFError, struct.error) as error:
        raise ModelError(f"{path} is truncated or damaged ({_first_line(error)}); copy or save it again.") from error


def _load_trusted_pickle(path: Path) -> object:
    try:
        with current_folder_importable(), _foreign_warnings_ignored():
            return torch.load(path, map_location="cpu", weights_only=False)
    except (*FACTORY_ERRORS, TypeError, ValueError, EOFError, struct.error, pickle.UnpicklingError) as error:
        raise ModelError(
            f"{path} cannot be loaded ({_first_line(error)}); run from the folder its classes are importable from, "
            "or name them with --allow package.module:Class."
        ) from error


def _refusal(path: Path, refused: list[str]) -> str:
    return (
        f"{path} would load {_shown(refused)}, which may run any code; nothing was run. If these are classes of your "
        "model, name each with --allow package.module:Class; if you know where the file comes from, give --trust; "
        "safest is a state dict with --arch."
    )


def _is_torch_own(name: str) -> bool:
    is_storage = name.startswith("torch.") and name.endswith("Storage")
    return name.startswith(TORCH_OWN) or name in (*TORCH_OWN_NAMES, *PLAIN_NAMES) or is_storage


def _state_dict(path: Path, content: object) -> dict[str, Tensor]:
    for key in WEIGHT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path} holds a {type(content).__name__}, expected a module or a dict of tensors by name.")
    strange = [key for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strange:
        raise ModelError(
            f"{path} holds a dict whose entry {strange[0]!r} is no tensor ({type(content[strange[0]]).__name__}); "
            "save model.state_dict() alone."
        )
    if all(key.startswith("module.") for key in content):  # what DataParallel writes
        return {key.removeprefix("module."): value for key, value in content.items()}
    return dict(content)


def _module_with_weights(path: Path, weights: dict[str, Tensor], arch: str | None) -> nn.Module:
    if arch is None:
        raise UsageError(
            f"{path} holds weights only ({len(weights)} tensors, first {next(iter(weights))!r}); say which network "
            "they belong to with --arch package.module:factory or --arch torchvision:name."
        )
    module = build_architecture(arch)
    try:
        keys: Any = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        raise ModelError(f"{path} does not fit --arch {arch}: {'; '.join(lines[:NAMES_SHOWN])}") from error
    if keys.missing_keys or keys.unexpected_keys:
        raise ModelError(
            f"{path} does not fit --arch {arch}: missing in the file {_shown(keys.missing_keys)}, "
            f"unknown to the network {_shown(keys.unexpected_keys)}; check the factory and its arguments."
        )
    return module


def _shown(names: list[str]) -> str:
    listed = ", ".join(names[:NAMES_SHOWN]) or "nothing"
    return f"{listed} and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else listed


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0][:200]


@contextmanager
def _foreign_warnings_ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.filterwarnings("ignore", category=category, module=r"torch(vision)?(\.|$)")
        # torch attributes these to whoever called it
        warnings.filterwarnings("ignore", message=r".*(torch\.jit|TypedStorage|source code of class).*")
        yield
