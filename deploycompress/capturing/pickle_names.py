"""Lists the classes and functions a pickle refers to, by reading its opcodes and running none of them."""

from __future__ import annotations

import _compat_pickle
import io
import pickletools
import zipfile
from pathlib import Path

LEGACY_PICKLES = 5  # magic number, protocol, system facts, the object, storage keys


def pickled_names(path: Path) -> tuple[str, ...]:
    """Name every global of a PyTorch checkpoint, archive or legacy, sorted; damaged parts are left out."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            streams = [io.BytesIO(archive.read(name)) for name in pickles]
        return tuple(sorted({name for stream in streams for name in _names_in(stream)}))
    names: set[str] = set()
    with path.open("rb") as file:
        for _ in range(LEGACY_PICKLES):
            names |= _names_in(file)
    return tuple(sorted(names))


def _names_in(stream: io.BufferedIOBase) -> set[str]:
    names: set[str] = set()
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(stream):  # type: ignore[arg-type]  # it only needs read and readline
            if opcode.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                names.add(_modern_name(module, name))
            elif opcode.name == "STACK_GLOBAL" and len(strings) >= 2:
                names.add(_modern_name(strings[-2], strings[-1]))
            elif isinstance(argument, str):
                strings.append(argument)
    except (ValueError, UnicodeDecodeError):
        pass  # a damaged pickle: the loader reports it; what was found so far is still worth naming
    return names


def _modern_name(module: str, name: str) -> str:
    if (module, name) in _compat_pickle.NAME_MAPPING:
        module, name = _compat_pickle.NAME_MAPPING[module, name]
    return f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"
