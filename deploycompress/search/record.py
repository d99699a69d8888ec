"""Frozen records as JSON and back, checked against their types; every engine's state travels this way."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from deploycompress.errors import UsageError

SCHEMA = 2

Record = TypeVar("Record")


def to_json(record: object, engine: str) -> str:
    """Write a state; floats come back to the last digit.

    Args:
        record: a dataclass of plain values, tuples, mappings, enumerations and such dataclasses; numbers are finite.
        engine: whose state it is.
    """
    content = _adapter(type(record)).dump_python(record, mode="json")
    return json.dumps({"schema": SCHEMA, "engine": engine, "state": content}, separators=(",", ":"), allow_nan=False)


def from_json(kind: type[Record], text: str, engine: str) -> Record:
    """Read a state that `to_json` wrote.

    Raises:
        UsageError: the text is no such state, of another version, or of another engine.
    """
    try:
        content = json.loads(text)
        found = (content["schema"], content["engine"])
        if found != (SCHEMA, engine):
            raise UsageError(
                f"The search state is of engine {found[1]!r}, version {found[0]!r}; "
                f"this is {engine!r}, version {SCHEMA}. Start the search anew."
            )
        state: Record = _adapter(kind).validate_python(content["state"])
    except (json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise UsageError(f"Not a search state of {engine}: {_short(error)}; start the search anew.") from error
    return state


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error) or type(error).__name__


@lru_cache
def _adapter(kind: type[Record]) -> TypeAdapter[Any]:  # Any: the record's own type
    return TypeAdapter(kind)
