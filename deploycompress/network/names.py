"""Finds each constant a place in a tree of torch modules, under its own name wherever torch can hold it."""

from __future__ import annotations

from collections.abc import Collection

ESCAPE = "onnx%3A"
# Characters that mean something to torch's own paths, or to this escape.
_ENCODED = str.maketrans({"%": "%25", ".": "%2E"})


def state_key(name: str, taken: Collection[str], reserved: Collection[str]) -> str:
    """Give the key under which `state_dict` shows a constant: its name, or an escape that no other name gives.

    Args:
        name: the constant's name in the graph.
        taken: names of all constants, to see which are paths to others.
        reserved: attribute names that a torch module uses itself.
    """
    parts = name.split(".")
    ancestors = {".".join(parts[:count]) for count in range(1, len(parts))}
    if all(parts) and not name.startswith(ESCAPE) and not ancestors & set(taken) and not set(parts) & set(reserved):
        return name
    return ESCAPE + name.translate(_ENCODED)
