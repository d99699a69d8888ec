"""Pages of which a tool makes the parts between marks anew, and people write the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping

from deploycompress.errors import UsageError


def marked(tool: str, name: str, text: str) -> str:
    """Put a part between its marks.

    Args:
        tool: file that makes it, such as `tools/zoo.py`.
        name: of the part.
        text: its content.
    """
    return f"<!-- made by {tool}: {name} -->\n{text}\n<!-- end -->"


def filled(page: str, parts: Mapping[str, str], *, tool: str) -> str:
    """Replace what stands between a tool's marks.

    Raises:
        UsageError: there is a mark for which there is no part.
    """

    def replaced(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in parts:
            raise UsageError(f"The document has the mark {name!r}; known are {', '.join(sorted(parts))}.")
        return marked(tool, name, parts[name])

    marks = rf"<!-- made by {re.escape(tool)}: (?P<name>[\w-]+) -->\n.*?<!-- end -->"
    return re.sub(marks, replaced, page, flags=re.DOTALL)
