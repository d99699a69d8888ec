"""Which classes a pickled module may be made of.

A name is admitted only when it is, under exactly that module and name, a class of layers that torch or torchvision
define there. Functions, re-exported modules, dotted look-ups and classes that compile code are not.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable

import torch
from torch import nn

from deploycompress.capturing.importing import import_object
from deploycompress.errors import UsageError

LAYER_PACKAGES = ("torch.nn.modules.", "torchvision.models.", "torchvision.ops.")
# Subclasses of Module whose state is source code or a compiled program.
PROGRAM_CLASSES = (torch.fx.GraphModule, torch.jit.ScriptModule)


def layer_class(full_name: str) -> type[nn.Module] | None:
    """Give the layer class of torch or torchvision with a name found in a pickle, or None.

    Args:
        full_name: module and class joined by a dot, such as `torch.nn.modules.conv.Conv2d`.
    """
    module_name, _, class_name = full_name.rpartition(".")
    if not f"{module_name}.".startswith(LAYER_PACKAGES):
        return None
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError):  # ValueError: a name with a null byte or a lone surrogate
        return None
    found = vars(module).get(class_name)
    if not isinstance(found, type) or not issubclass(found, nn.Module) or issubclass(found, PROGRAM_CLASSES):
        return None
    return found if (found.__module__, found.__qualname__) == (module_name, class_name) else None


def user_classes(allow: Iterable[str]) -> dict[str, type]:
    """Import the classes that `--allow` names.

    Args:
        allow: entries of the form `package.module:Class`.

    Returns:
        Class by the full names a pickle may call it: its own, and `__main__`, where training scripts define models.

    Raises:
        UsageError: an entry cannot be understood or imported, or is no class made for models.
    """
    classes: dict[str, type] = {}
    for entry in allow:
        found = _user_class(entry)
        for module in ("__main__", entry.partition(":")[0], found.__module__):
            classes[f"{module}.{found.__qualname__}"] = found
    return classes


def _user_class(entry: str) -> type:
    module_name, colon, class_name = entry.partition(":")
    if not (colon and module_name and class_name.isidentifier()):
        raise UsageError(f"--allow {entry!r} cannot be understood; expected package.module:Class.")
    if module_name.partition(".")[0] in sys.stdlib_module_names - {"__main__"}:
        raise UsageError(f"--allow {entry}: {module_name!r} is Python's own and no part of a model; see --trust.")
    found = import_object(module_name, class_name, option=f"--allow {entry}")
    if not isinstance(found, type):
        raise UsageError(f"--allow {entry}: {class_name} is a {type(found).__name__}, expected a class.")
    if found.__module__.partition(".")[0] in sys.stdlib_module_names - {"__main__"}:
        raise UsageError(f"--allow {entry}: this is Python's own {found.__module__}.{found.__qualname__}, no model.")
    return found
