"""Tables in the cache: round trips, and everything that makes one unusable."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploycompress.calibration.fit import cross_validate, fit_table
from deploycompress.calibration.layer_table import predict_ms
from deploycompress.calibration.table_file import (
    StoredTable,
    TableKey,
    cache_folder,
    load_table,
    save_table,
    table_key,
    table_path,
)
from deploycompress.errors import MeasureError, OutputError
from deploycompress.evaluation import Evidence
from deploycompress.measuring.conditions import Conditions, Machine
from deploycompress.precision import Precision
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from tests.calibration.networks import QUANTA, PlantedDevice, students_of, wide_net

KEY = TableKey(
    machine="abc",
    onnxruntime="1.31.1",
    providers=("CPUExecutionProvider",),
    threads=1,
    runtime="f00",
    precision=Precision.INT8,
    form="0dd",
    model="d00",
)


@pytest.fixture(scope="module")
def stored() -> StoredTable:
    graph = wide_net()
    device = PlantedDevice(graph, noise=0.01)
    students = [device.measure(one) for one in (device.teacher, *students_of(graph, 15))]
    return StoredTable(
        key=KEY,
        table=fit_table(students, quanta=QUANTA, teacher_ms=device.teacher_ms),
        error=cross_validate(students, quanta=QUANTA, teacher_ms=device.teacher_ms),
        profile="x86",
        made="2026-11-21",
    )


def test_a_table_comes_back_as_it_was(tmp_path: Path, stored: StoredTable) -> None:
    path = save_table(tmp_path / "cache", stored)
    found = load_table(table_path(tmp_path / "cache", KEY), KEY)
    assert found == stored
    student = next(iter(students_of(wide_net(), 1, seed=9)))
    assert predict_ms(found.table, student) == predict_ms(stored.table, student)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]  # no half file is left


def key_of(profile: Profile, precision: Precision) -> TableKey:
    conditions = Conditions(
        machine=Machine(id="abc", arch="x86_64", board="", cpu="", cores=2, system="Linux", governor=""),
        onnxruntime="1.31.1",
        profile=profile.name,
        profile_digest=profile.digest(),
        providers=profile.runtime.providers,
        threads=1,
        percentile=90.0,
        confidence=0.95,
        evidence=Evidence.MEASURED,
    )
    return table_key(conditions, profile, precision, "d00")


def test_tables_of_two_precisions_never_share_a_file(tmp_path: Path) -> None:
    profile = load_profile("x86")
    signed = profile.precision.int8.model_copy(update={"activations": "int8"})
    other = profile.model_copy(update={"precision": profile.precision.model_copy(update={"int8": signed})})
    assert len({table_path(tmp_path, key_of(profile, precision)) for precision in Precision}) == len(Precision)
    # The form of 8-bit graphs changes what they cost, and nothing else.
    assert key_of(profile, Precision.INT8) != key_of(other, Precision.INT8)
    assert key_of(profile, Precision.FP16) == key_of(other, Precision.FP16)


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="cannot be read"):
        load_table(table_path(tmp_path, KEY), KEY)


@pytest.mark.parametrize(
    "change",
    [
        {"machine": "other"},
        {"onnxruntime": "1.19.2"},
        {"providers": ("XnnpackExecutionProvider",)},
        {"threads": 4},
        {"runtime": "bad"},
        {"precision": Precision.FP32},
        {"form": "bad"},
        {"model": "bad"},
    ],
)
def test_a_table_of_something_else_is_refused_by_name(
    tmp_path: Path, stored: StoredTable, change: dict[str, Any]
) -> None:
    path = save_table(tmp_path, stored)
    wanted = replace(KEY, **change)
    assert table_path(tmp_path, wanted) != path
    with pytest.raises(MeasureError, match=f"another {next(iter(change))} "):
        load_table(path, wanted)
    moved = table_path(tmp_path, wanted)
    path.rename(moved)  # even under the name of the wanted one
    with pytest.raises(MeasureError, match=f"another {next(iter(change))} "):
        load_table(moved, wanted)


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.update(schema=1),
        lambda record: record.pop("layers"),
        lambda record: record["other"].update(cost_us=[-1.0, 0.0, 0.0, 0.0]),
        lambda record: record["quanta"].update(quantum=0),
        lambda record: record["run"].update(factor="fast"),
        lambda record: record["key"].update(more=1),
        lambda record: record["key"].update(precision="int4"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, stored: StoredTable, damage: Any) -> None:
    path = save_table(tmp_path, stored)
    record = json.loads(path.read_text())
    damage(record)
    path.write_text(json.dumps(record))
    with pytest.raises(MeasureError, match="no latency table"):
        load_table(path, KEY)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_what_is_no_json_object_is_refused(tmp_path: Path, stored: StoredTable, text: str) -> None:
    path = save_table(tmp_path, stored)
    path.write_text(text)
    with pytest.raises(MeasureError, match="no latency table"):
        load_table(path, KEY)


def test_a_cache_that_cannot_be_written_is_a_clear_error(tmp_path: Path, stored: StoredTable) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="DEPLOYCOMPRESS_CACHE"):
        save_table(tmp_path / "file", stored)


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("DEPLOYCOMPRESS_CACHE", raising=False)
    assert cache_folder() == tmp_path / "deploycompress"
    monkeypatch.setenv("DEPLOYCOMPRESS_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("DEPLOYCOMPRESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "deploycompress"
