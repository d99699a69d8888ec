"""What a module returns, as a flat list of named tensors: one, several, dictionaries, lists of dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from deploycompress.errors import ModelError


def named_tensors(result: object, module: str) -> dict[str, Tensor]:
    """Flatten what a module returned, in the order in which the exporter does.

    Args:
        result: a tensor, or tuples, lists and dictionaries of tensors, nested as deep as they like.
        module: the module's class, for messages.

    Returns:
        Tensors by name: `output` for the only one, keys of dictionaries joined by points where there are several.
        Positions are named only where something else stands beside them.

    Raises:
        ModelError: it holds something other than tensors, or nothing.
    """
    leaves = [(tuple(path), tensor) for path, tensor in _leaves(result, (), module)]
    if not leaves:
        raise ModelError(f"{module} returns a {type(result).__name__}, expected a tensor or several.")
    while len(leaves[0][0]) > 1 and len({path[0] for path, _ in leaves}) == 1:  # a list with a single dictionary
        leaves = [(path[1:], tensor) for path, tensor in leaves]
    return {_name(path, len(leaves)): tensor for path, tensor in leaves}


def _name(path: tuple[str, ...], count: int) -> str:
    if not path or (count == 1 and path[0].isdecimal()):
        return "output"
    joined = ".".join(path)
    return f"output_{joined}" if path[0].isdecimal() else joined


def _leaves(value: object, path: tuple[str, ...], module: str) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)), module)
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, str(index)), module)
    elif value is not None:  # torch's exporter leaves None out as well
        raise ModelError(f"{module} returns a {type(value).__name__}, expected a tensor or several.")
