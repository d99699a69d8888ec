"""Frozen records as JSON and back, checked against their types; every engine's state travels this way."""

from __future__ import annotations

import json
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from deploycompress.errors import UsageError

SCHEMA = 2

Record = TypeVar("Record")

_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}  # making one takes longer than using it


def to_json(record: object, engine: str) -> str:
    """Write a record on one line; floats come back to the last digit.

    Args:
        record: a dataclass of plain values, tuples, mappings, enumerations and such dataclasses; numbers are finite.
        engine: whose state it is, or what else the record is of.
    """
    content = _adapter(type(record)).dump_python(record, mode="json")
    return json.dumps({"schema": SCHEMA, "engine": engine, "state": content}, separators=(",", ":"), allow_nan=False)


def from_json(kind: type[Record], text: str, engine: str) -> Record:
    """Read a record that `to_json` wrote.

    Raises:
        UsageError: the text is no such record, of another version, or of another engine.
    """
    try:
        content = json.loads(text)
        found = (content["schema"], content["engine"])
        if found != (SCHEMA, engine):
            raise UsageError(
                f"The search state is of engine {found[1]!r}, version {found[0]!r}; "
                f"this is {engine!r}, version {SCHEMA}. Start the search anew."
            )
        return cast(Record, _adapter(kind).validate_python(content["state"]))
    except (json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise UsageError(f"Not a search state of {engine}: {_short(error)}; start the search anew.") from error


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error) or type(error).__name__


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:  # Any: the record's own type
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
