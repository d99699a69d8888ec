"""Which options of ONNX Runtime a request may set: none that names a file, makes one, or loads a library."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .refusal import RefusedError

if TYPE_CHECKING:
    from .frames import Message

_OPTIONS = ("session", "provider_options")
_TOUCHES_FILES = re.compile(
    r"path|(?<!pro)file|dir$|directory|folder|dump|librar|plugin|load_config|saver|ep\.context|custom_op", re.IGNORECASE
)


def require_harmless(request: Message) -> None:
    """Look at every option in a request, however deep.

    Raises:
        RefusedError: an option touches files or libraries.
    """
    for name, value in request.items():
        if name in _OPTIONS:
            for key in _keys(value):
                _require_harmless_key(key)
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                require_harmless(inner)


def _keys(value: Any) -> list[str]:  # Any: decoded JSON
    if not isinstance(value, dict):
        return []
    return [key for name, inner in value.items() for key in (name, *_keys(inner))]


def _require_harmless_key(key: str) -> None:
    if _TOUCHES_FILES.search(key):
        raise RefusedError(
            "option",
            f"The option {key!r} names or makes files on the device, which measuring never does; "
            "take it out of the profile.",
        )
