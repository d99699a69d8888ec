"""Latency tables on disk: one file for each machine, runtime, precision and model, and never another one's."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deploycompress.calibration.fit import PredictionError
from deploycompress.calibration.layer_table import LayerCost, LayerTable, RunModel
from deploycompress.errors import MeasureError, OutputError
from deploycompress.measuring.measurement import Conditions
from deploycompress.precision import Precision
from deploycompress.profile import ChannelSteps, Profile

SCHEMA = 2
CACHE_VARIABLE = "DEPLOYCOMPRESS_CACHE"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableKey:
    """What a table belongs to; all of it must agree before a number of it is used.

    Attributes:
        machine: id of the machine.
        onnxruntime: version.
        providers: execution providers.
        threads: threads inside one operator.
        runtime: SHA-256 of the profile's `[runtime]` table. Its constraints and quanta are left out: they change no
            latency, and the calibrated profile differs from the given one in just these.
        precision: arithmetic that was measured.
        form: SHA-256 of the profile's form of 8-bit graphs; empty for another precision, which it does not touch.
        model: digest of the model's structure as it ships in single precision.
    """

    machine: str
    onnxruntime: str
    providers: tuple[str, ...]
    threads: int
    runtime: str
    precision: Precision
    form: str
    model: str

    def digest(self) -> str:
        """Name the key."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTable:
    """A table with where it comes from.

    Attributes:
        key: what it belongs to.
        table: the table.
        error: what it got wrong on students that it had not seen.
        profile: name of the profile it was made with.
        made: date, ISO 8601.
    """

    key: TableKey
    table: LayerTable
    error: PredictionError
    profile: str
    made: str


def table_key(conditions: Conditions, profile: Profile, precision: Precision, model: str) -> TableKey:
    """Make the key of a model's table.

    Args:
        conditions: of any measurement on the machine.
        profile: what it was measured with.
        precision: arithmetic that was measured.
        model: digest of the model's structure as it ships in single precision (`execute.structure.structure_digest`).
    """
    runtime = hashlib.sha256(profile.runtime.model_dump_json().encode()).hexdigest()
    form = hashlib.sha256(profile.precision.int8.model_dump_json().encode()).hexdigest()
    return TableKey(
        machine=conditions.machine.id,
        onnxruntime=conditions.onnxruntime,
        providers=tuple(conditions.providers),
        threads=conditions.threads,
        runtime=runtime,
        precision=precision,
        form=form if precision is Precision.INT8 else "",
        model=model,
    )


def cache_folder() -> Path:
    """Give the folder of all caches: `$DEPLOYCOMPRESS_CACHE`, else `deploycompress` in the user's cache folder."""
    named = os.environ.get(CACHE_VARIABLE, "")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME", "")  # the XDG base directory specification ignores relative ones
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "deploycompress"


def table_path(folder: Path, key: TableKey) -> Path:
    """Say where a table lies in a cache folder."""
    return folder / "latency-tables" / f"{key.digest()[:32]}.json"


def save_table(folder: Path, stored: StoredTable) -> Path:
    """Write a table to its place, through a temporary neighbour; an older one of the same key is replaced.

    Raises:
        OutputError: the folder cannot be written.
    """
    path = table_path(folder, stored.key)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(_to_json(stored), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"The latency table cannot be written to {path}: {error.strerror}; name another folder by {CACHE_VARIABLE}."
        ) from error
    return path


def load_table(path: Path, key: TableKey) -> StoredTable:
    """Read a table and make sure that it is the wanted one.

    Raises:
        MeasureError: the file cannot be read, is no table, or belongs to another machine, runtime or model.
    """
    try:
        stored = _from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MeasureError(f"Latency table {path} cannot be read: {error.strerror}; calibrate again.") from error
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise MeasureError(f"{path} is no latency table of schema {SCHEMA} ({error}); calibrate again.") from error
    for field in fields(TableKey):
        theirs, mine = getattr(stored.key, field.name), getattr(key, field.name)
        if theirs != mine:
            raise MeasureError(
                f"Latency table {path} was made for another {field.name} ({theirs!r}, here it is {mine!r}) and is not "
                "used; calibrate here, for this model."
            )
    return stored


def _to_json(stored: StoredTable) -> str:
    table = stored.table
    record = {
        "schema": SCHEMA,
        "key": asdict(stored.key),
        "profile": stored.profile,
        "made": stored.made,
        "errors": list(stored.error.errors),
        "quanta": table.quanta.model_dump(mode="json"),
        "layers": {name: asdict(cost) for name, cost in table.layers.items()},
        "other": asdict(table.other),
        "run": asdict(table.run),
        "teacher_ms": table.teacher_ms,
    }
    return json.dumps(record, indent=1, allow_nan=False)


def _from_json(text: str) -> StoredTable:
    record: dict[str, Any] = json.loads(text)  # Any: JSON, checked key by key below
    if record["schema"] != SCHEMA:
        raise ValueError(f"its schema is {record['schema']!r}")
    told = record["key"]
    key = {**told, "providers": tuple(told["providers"]), "precision": Precision(told["precision"])}
    table = LayerTable(
        quanta=ChannelSteps.model_validate(record["quanta"]),
        layers={name: _cost(cost) for name, cost in record["layers"].items()},
        other=_cost(record["other"]),
        run=RunModel(**{name: float(number) for name, number in record["run"].items()}),
        teacher_ms=float(record["teacher_ms"]),
    )
    return StoredTable(
        key=TableKey(**key),
        table=table,
        error=PredictionError(errors=tuple(map(float, record["errors"]))),
        profile=str(record["profile"]),
        made=str(record["made"]),
    )


def _cost(record: Mapping[str, Any]) -> LayerCost:  # Any: JSON
    return LayerCost(unit=tuple(map(float, record["unit"])), cost_us=tuple(map(float, record["cost_us"])))
