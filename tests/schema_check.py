"""A small checker of JSON Schema, written apart from the program, for the keywords that its schema uses."""

from __future__ import annotations

import re
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
KEYWORDS = {
    *("$schema", "$ref", "title", "description", "default", "definitions", "type", "const", "enum", "oneOf", "pattern"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "minProperties", "items"),
    *("properties", "patternProperties", "additionalProperties", "required"),
}


def violations(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, at: str = "") -> list[str]:
    """List where a value breaks a schema."""
    root = schema if root is None else root
    assert set(schema) <= KEYWORDS, f"keywords this checker does not know: {set(schema) - KEYWORDS}"
    found = []
    if "$ref" in schema:
        found += violations(value, root["definitions"][schema["$ref"].rpartition("/")[2]], root, at)
    if "oneOf" in schema and sum(not violations(value, branch, root, at) for branch in schema["oneOf"]) != 1:
        found.append(f"{at}: fits not exactly one branch")
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return [*found, f"{at}: {value!r} is no {kinds}"]
    if "const" in schema and not _same(value, schema["const"]):
        found.append(f"{at}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and not any(_same(value, option) for option in schema["enum"]):
        found.append(f"{at}: {value!r} is none of {schema['enum']!r}")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{at}: {value!r} has not the pattern")
    if isinstance(value, int | float) and not isinstance(value, bool):
        found += _bounds(value, schema, at)
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{at}: {len(value)} entries")
        for index, entry in enumerate(value):
            found += violations(entry, schema.get("items", {}), root, f"{at}[{index}]")
    if isinstance(value, dict):
        found += _object(value, schema, root, at)
    return found


def _object(value: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str) -> list[str]:
    found = [f"{at}: {key!r} is missing" for key in schema.get("required", ()) if key not in value]
    if len(value) < schema.get("minProperties", 0):
        found.append(f"{at}: too few keys")
    for key, entry in value.items():
        branches = [part for pattern, part in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
        if key in schema.get("properties", {}):
            branches.append(schema["properties"][key])
        if not branches and schema.get("additionalProperties") is False:
            found.append(f"{at}: {key!r} is not known")
        for branch in branches:
            found += violations(entry, branch, root, f"{at}.{key}")
    return found


def _bounds(value: float, schema: dict[str, Any], at: str) -> list[str]:
    low, high = schema.get("minimum", value), schema.get("maximum", value)
    is_open = value > schema.get("exclusiveMinimum", value - 1) and value < schema.get("exclusiveMaximum", value + 1)
    return [] if low <= value <= high and is_open else [f"{at}: {value!r} is out of bounds"]


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and (isinstance(value, bool) == (kind == "boolean"))


def _same(value: Any, other: Any) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)
