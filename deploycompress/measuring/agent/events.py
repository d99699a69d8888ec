"""ONNX Runtime's own profile of a session, event by event."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .frames import Message
    from .session import Runner


def profiling_options(folder: str) -> Message:
    """Name the session options that make a profile in a folder."""
    return {"enable_profiling": True, "profile_file_prefix": str(Path(folder) / "profile")}


def node_events(runner: Runner) -> list[Message]:
    """End profiling and give what is told of nodes."""
    events = json.loads(Path(runner.session.end_profiling()).read_text())
    return [event for event in events if event.get("cat") == "Node"]
