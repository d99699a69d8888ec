"""What starts the agent on a device: a constant line for its interpreter, and the sources of the agent in one blob."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from deploycompress.measuring import agent
from deploycompress.measuring.agent.loader import PACKAGE

# One line, without quotes of its own but double ones: it passes through any shell inside single quotes.
BOOTSTRAP = (
    "import io,json;s=io.BufferedReader(io.FileIO(0,closefd=False));"
    'b=json.loads(s.read(int.from_bytes(s.read(4),"big")).decode());exec(b["loader"]);start(s,b)'
)
INTERPRETER_OPTIONS = ("-I", "-B", "-c")  # isolated from the device's environment, and writing no bytecode there

_LENGTH = struct.Struct(">I")


def bundle(search_path: Sequence[str] = ()) -> bytes:
    """Give what the bootstrap reads from its standard input.

    Args:
        search_path: folders on the device in which modules are found, too.
    """
    sources = _sources()
    content = {
        "loader": sources[f"{PACKAGE}.loader"],
        "sources": sources,
        "search_path": list(search_path),
    }
    data = json.dumps(content).encode()
    return _LENGTH.pack(len(data)) + data


@cache
def _sources() -> dict[str, str]:
    found = {}
    for file in files(agent).iterdir():
        if file.name.endswith(".py"):
            stem = file.name.removesuffix(".py")
            found[PACKAGE if stem == "__init__" else f"{PACKAGE}.{stem}"] = file.read_text(encoding="utf-8")
    return found
