"""The JSON Schema of profile files, for editors that complete and check TOML.

It is made from the models that read the files and from the allowlists, so it says what they say; conditions over
several keys, such as enough samples for a percentile, stay with the models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from deploycompress.constraint import METRICS
from deploycompress.profile import OPERATOR_KIND, Channels, ChannelSteps, Device, Measure, Profile, Quantum, Runtime
from deploycompress.profile_keys import PROVIDER_OPTIONS, SESSION_KEYS
from deploycompress.profile_precision import Arithmetic, Int8Format

Schema = dict[str, Any]  # Any: JSON

_MODELS: tuple[type[BaseModel], ...] = (
    *(Profile, Device, Runtime, Measure),
    *(Arithmetic, Int8Format),
    *(Channels, ChannelSteps, Quantum),
)


def profile_schema() -> Schema:
    """Make the schema of a profile file, an alias included."""
    raw = _tidy(Profile.model_json_schema(by_alias=True, ref_template="#/definitions/{model}"))
    tables: Schema = raw.pop("$defs")
    for model in _MODELS:
        _describe(raw if model is Profile else tables[model.__name__], model)
    del raw["properties"]["name"]
    raw["required"].remove("name")
    _restrict(raw["properties"], tables)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "deploycompress profile",
        "description": "A target device, or another name for one.",
        "oneOf": [{"$ref": "#/definitions/Profile"}, {"$ref": "#/definitions/Alias"}],
        "definitions": {"Profile": raw, "Alias": _alias_schema(), **tables},
    }


def _tidy(schema: Any) -> Any:
    """Leave out generated titles, and null, which TOML does not have."""
    if isinstance(schema, list):
        return [_tidy(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _tidy(entry) for key, entry in schema.items() if not (key == "title" and isinstance(entry, str))}
    if {"type": "null"} in kept.get("anyOf", ()):
        [other] = [entry for entry in kept["anyOf"] if entry != {"type": "null"}]
        return other
    return kept


def _restrict(properties: Schema, tables: Schema) -> None:
    """Write the allowlists into the schema."""
    runtime = tables["Runtime"]["properties"]
    runtime["providers"]["items"] = {"enum": sorted(PROVIDER_OPTIONS)}
    runtime["provider_options"] = _closed(
        runtime["provider_options"],
        {
            provider: _closed({}, {key: values.to_schema() for key, values in options.items()})
            for provider, options in PROVIDER_OPTIONS.items()
        },
    )
    session = {key: {**values.to_schema(), "type": "string"} for key, values in SESSION_KEYS.items()}
    runtime["session"] = _closed(runtime["session"], session)
    for model in (Channels, ChannelSteps):
        quanta = tables[model.__name__]["properties"]["quanta"]
        quanta["patternProperties"] = {f"^({OPERATOR_KIND})$": quanta.pop("additionalProperties")}
        quanta["additionalProperties"] = False
    row = _closed({}, {name: {"type": "number"} for name in (*sorted(METRICS), "max")})
    properties["constraint"]["items"] = {**row, "required": ["max"], "minProperties": 2}


def _closed(table: Schema, properties: Schema) -> Schema:
    kept = {key: table[key] for key in ("description",) if key in table}
    return {**kept, "type": "object", "additionalProperties": False, "properties": properties}


def _alias_schema() -> Schema:
    keys = {"schema": {"const": 1}, "alias": {"type": "string", "description": "Name of the profile that is meant."}}
    return {**_closed({}, keys), "required": ["schema", "alias"]}


def _describe(schema: Schema, model: type[BaseModel]) -> None:
    text = (model.__doc__ or "").strip()
    schema["description"] = text.splitlines()[0]
    for name, sentence in _attributes(text):
        key = model.model_fields[name].alias or name
        schema["properties"][key]["description"] = sentence[0].upper() + sentence[1:]


def _attributes(docstring: str) -> Iterator[tuple[str, str]]:
    """Read the attributes' entries of a docstring."""
    entries = docstring.partition("Attributes:\n")[2]
    for name, sentence in re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", entries, re.MULTILINE):
        yield name, " ".join(sentence.split())
