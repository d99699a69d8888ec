"""Writes what calibration found into a copy of a profile, its own comments kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import tomlkit
from tomlkit.items import Table

from deploycompress.calibration.findings import Staircase
from deploycompress.calibration.staircase import Side
from deploycompress.errors import OutputError, UsageError
from deploycompress.pipeline.calibrate import Calibration
from deploycompress.precision import Precision
from deploycompress.profile_files import find_profile

ENDING = ".calibrated.toml"


def default_path(profile: str, name: str) -> Path:
    """Say where a calibrated profile goes: beside a file that was given, into the current folder for a name.

    Args:
        profile: name or path, as the user gave it.
        name: of the profile that was meant.
    """
    path = Path(profile)
    is_file = path.suffix == ".toml" or path.name != profile
    return (path.parent if is_file else Path()) / f"{name.removesuffix('.calibrated')}{ENDING}"


def check_writable(path: Path, *, force: bool) -> None:
    """Make sure that a profile may be written before hours are spent on it.

    Raises:
        OutputError: there is a file already, or the folder is not there.
        UsageError: the name is no profile's.
    """
    if path.suffix != ".toml":
        raise UsageError(f"--out {path} does not end in .toml, which a profile's file must; such as {path}.toml.")
    if path.exists() and not (force and path.is_file()):
        raise OutputError(f"{path} exists already; name another file with --out, or replace it with --force.")
    if not path.parent.is_dir():
        raise OutputError(f"There is no folder {path.parent} to write {path.name} into; make it first.")


def write_calibrated(path: Path, profile: str, calibration: Calibration, *, model: str, force: bool = False) -> None:
    """Write the calibrated profile.

    Args:
        path: where; `check_writable` has had its say.
        profile: name or path of the profile that was calibrated.
        calibration: what was found.
        model: name of the model's file, for the comment.
        force: replace a file that is there.

    Raises:
        OutputError: the file cannot be written, or came to be while it was calibrated.
    """
    text = calibrated_toml(find_profile(profile).read_text(encoding="utf-8"), calibration, model=model)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        if not force:
            path.touch(exist_ok=False)  # takes the name, or fails where somebody else has it
        partial.replace(path)
    except FileExistsError as error:
        raise OutputError(
            f"{path} was not there when calibration began, and is not replaced; name another file with --out, or give "
            "--force."
        ) from error
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; name another file with --out.") from error
    finally:
        partial.unlink(missing_ok=True)


def calibrated_toml(text: str, calibration: Calibration, *, model: str) -> str:
    """Put the quanta of one precision into a profile's text; everything else stays as it was written."""
    document = tomlkit.parse(text)
    channels = _table(document, "channels")
    if calibration.precision is not Precision.FP32:
        channels = _table(channels, calibration.precision)
    before = channels.pop("quantum", None)
    channels.pop("quanta", None)
    below = {name: channels.pop(name) for name in Precision if isinstance(channels.get(name), Table)}
    for line in _remarks(calibration, model, before):
        channels.add(tomlkit.comment(line))
    channels.add("quantum", calibration.quanta.quantum)
    kinds = tomlkit.table(is_super_table=True)
    for kind, quantum in calibration.quanta.quanta.items():
        entry = tomlkit.table()
        entry.add("input", quantum.input)
        entry.add("output", quantum.output)
        kinds.add(kind, entry)
    if calibration.quanta.quanta:
        channels.add("quanta", kinds)
    for name, table in below.items():
        channels.add(name.value, table)  # after the comments, which are not about them
    return tomlkit.dumps(document)


def _table(parent: tomlkit.TOMLDocument | Table, name: str) -> Table:
    """Find or make a table that has room for comments, which an inline table has not."""
    old = parent.get(name)
    if isinstance(old, Table):
        return old
    table = tomlkit.table()
    if old is not None:
        table.update(old.unwrap())
        parent.remove(name)
    parent[name] = table
    return table


def _remarks(calibration: Calibration, model: str, before: object) -> list[str]:
    conditions = calibration.conditions
    machine = conditions.machine
    lines = [
        f"Calibrated {calibration.date} in {calibration.precision} with {model} on machine {machine.id} "
        f"({machine.cpu or 'unknown'}),",
        f"ONNX Runtime {conditions.onnxruntime}, {', '.join(conditions.providers)}, {conditions.threads} thread(s), "
        f"evidence {conditions.evidence}. Before: quantum = {'none' if before is None else before}.",
    ]
    lines += _staircase_remarks(calibration.staircases)
    if calibration.table is not None:
        error = calibration.table.error
        lines.append(
            f"Latency table of {calibration.students} students: error on unseen ones {error.median:.1%} in the median, "
            f"{error.worst:.1%} at worst."
        )
    return [_one_line(line) for line in lines]


def _staircase_remarks(staircases: Sequence[Staircase]) -> list[str]:
    return [
        f"{staircase.sweep.layer.kind}, {'both sides' if staircase.sweep.side is Side.BOTH else staircase.sweep.side}: "
        f"{staircase.verdict}"
        for staircase in staircases
    ]


def _one_line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
