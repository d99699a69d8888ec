"""Text that came from a device, made fit for a message."""

from __future__ import annotations

LONGEST = 600


def shown(text: str, longest: int = LONGEST) -> str:
    """Put text on one line, without what a terminal would obey; of a long one its end, where errors say why."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= longest else f"...{line[-longest:]}"
