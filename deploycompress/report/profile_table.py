"""Profiles as a table: what they are called, what they are, and whether this machine is one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deploycompress.report.text_table import MISSING, Row, TextTable

Document = Mapping[str, Any]  # Any: JSON


def profile_table(documents: Sequence[Document]) -> TextTable:
    """Lay out what `list_profiles` found."""
    head = ("profile", "device", "arch", "providers", "reach", "this machine")
    return TextTable(head=head, rows=[_row(document) for document in documents])


def _row(document: Document) -> Row:
    if "problem" in document:
        return (document["name"], f"not valid: {document['problem']}", *(MISSING,) * 4)
    title = f"= {document['alias_of']}" if document["alias_of"] else document["title"]
    providers = ", ".join(name.removesuffix("ExecutionProvider") for name in document["providers"])
    here = "yes" if document["is_this_machine"] else "no"
    return (document["name"], title, document["arch"], providers, document["reach"], here)
