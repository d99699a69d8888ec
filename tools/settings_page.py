"""Writes docs/settings.md, every setting of `--set` with its default: `python -m tools.settings_page`."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from pathlib import Path

from deploycompress.pipeline.settings import Settings, known_settings, read_settings
from deploycompress.search import ENGINES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
LEARNING = ("joint", "n2n", "rl-pruner")
HEAD = """# Settings of `--set SECTION.NAME=VALUE`

Made by `python -m tools.settings_page` from the records in the code. The section `search` is that of the engine; the
others are of every run. Some settings go only with others, and the run says so before it begins."""


def main() -> int:
    """Write the page."""
    PAGE.write_text(page())
    return 0


def page() -> str:
    """Lay out all settings, the engines' own ones last."""
    shared = read_settings([], LEARNING[0])
    sections = dict.fromkeys(name.partition(".")[0] for name in known_settings(shared))
    parts = [HEAD, *(_section(section, shared) for section in sections if section != "search")]
    for engine in (*LEARNING, *(one for one in ENGINES if one not in LEARNING)):
        settings = read_settings([], engine)
        if any(name.startswith("search.") for name in known_settings(settings)):
            parts.append(_section("search", settings, of=f" of `--search {engine}`"))
    return "\n\n".join(parts) + "\n"


def _section(section: str, settings: Settings, *, of: str = "") -> str:
    record = settings.training.loss if section == "loss" else getattr(settings, section)
    meanings = _attributes(type(record))
    rows = [
        f"| `{name}` | {_shown(getattr(record, name.partition('.')[2]))} | {meanings[name.partition('.')[2]]} |"
        for name in known_settings(settings)
        if name.startswith(f"{section}.")
    ]
    return "\n".join([f"## {section}{of}", "", "| setting | default | meaning |", "|---|---|---|", *rows])


def _attributes(record: type) -> dict[str, str]:
    """Read what the docstring of a record says of each field."""
    _, _, text = inspect.cleandoc(record.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, flags=re.MULTILINE)
    return {name: re.sub(r"\s+", " ", meaning).replace("|", "\\|") for name, meaning in found}


def _shown(value: object) -> str:
    if isinstance(value, Enum):
        return f"`{value.value}`"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
