"""What can be said of a request before anything heavy is imported: missing files, bad profiles, taken folders."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deploycompress.errors import DataError, ModelError, UsageError
from deploycompress.pipeline.result import MODEL_FILE, RESULT_FILE, check_destination

if TYPE_CHECKING:
    from deploycompress.cli.compress_options import CompressOptions

NO_DATA = "none: images are synthesised from the network's batch norm statistics"
COMMANDS = ("bench", "check", "compare", "compress", "doctor", "inspect", "profiles", "report", "resume")


def default_out(source: Path, profile: str) -> Path:
    """Name the folder of a result after the model and the profile, in the current folder."""
    return Path(f"{source.name.split('.')[0] or 'model'}-{Path(profile).stem}")


def check_request(source: Path, options: CompressOptions, out: Path) -> None:
    """Refuse what cannot work, within milliseconds.

    Args:
        source: model file.
        options: the command's options; constraints were checked when they were read.
        out: folder for the result.

    Raises:
        ModelError: the model file is missing, empty or a folder.
        ProfileError: the profile cannot be found or understood.
        DataError: a path or pattern given as data matches nothing.
        OutputError: the folder holds a result already, or cannot be made.
    """
    from deploycompress.pipeline.precision_asked import read_precision  # pydantic: not for --help
    from deploycompress.profile_files import load_profile
    from deploycompress.search import ENGINES

    if options["search"] not in ENGINES:
        raise UsageError(f"There is no search engine {options['search']!r}; known: {', '.join(ENGINES)}.")
    if options["policy"] is not None and not options["policy"].is_file():
        raise UsageError(f"There is no policy file {str(options['policy'])!r}; give one that a run wrote.")
    check_model(source)
    synthesizes = "quantization.synthesizes=true" in (setting.replace(" ", "") for setting in options["settings"])
    read_precision(
        options["precision"], load_profile(options["profile"]), is_calibrated=bool(options["data"]) or synthesizes
    )
    _check_data("--data", options["data"])
    _check_data("--test-data", options["test_data"])
    check_destination(out, force=options["force"])


def describe_request(source: Path, options: CompressOptions, out: Path) -> Mapping[str, object]:
    """List what a run would do, in words that JSON can hold."""
    from deploycompress.pipeline.budget import seconds_of

    limits = list(options["constraints"]) or "those of the profile"
    return {
        "model": str(source),
        "profile": options["profile"],
        "targets": list(options["targets"]) or ["local"],
        "constraints": limits,
        "data": options["data"] or NO_DATA,
        "test_data": options["test_data"],
        "normalize": options["normalize"] or "by the kind of data",
        "metric": options["metric"],
        "precision": options["precision"] or "that of the profile",
        "search": options["search"],
        "policy": None if options["policy"] is None else str(options["policy"]),
        "settings": list(options["settings"]),
        "budget_s": seconds_of(options["budget"], evaluations=options["evaluations"], epochs=options["epochs"]),
        "evaluations": options["evaluations"],
        "epochs": options["epochs"],
        "seed": options["seed"],
        "read_when_it_runs": ["--set", "--normalize", "--metric", "--arch"],
        "would_write": [str(out / name) for name in (MODEL_FILE, RESULT_FILE, "trace.jsonl")],
    }


def check_model(source: Path) -> None:
    """Refuse a model file that is not there.

    Raises:
        ModelError: the file is missing, empty or a folder.
    """
    if not os.path.exists(source):  # noqa: PTH110  Path.exists fails on names too long
        near = difflib.get_close_matches(str(source), COMMANDS, n=1)
        hint = f"did you mean the command {near[0]!r}?" if near else "give the path of a model file."
        raise ModelError(f"There is no model file {str(source)!r}; {hint}")
    if source.is_dir():
        raise ModelError(f"{str(source)!r} is a folder; give the path of a model file.")
    if source.stat().st_size == 0:
        raise ModelError(f"The model file {str(source)!r} is empty; was it copied or downloaded completely?")


def _check_data(option: str, spec: str | None) -> None:
    """Check what names files; the other forms of a spec are understood further down."""
    if spec is None or os.path.exists(spec.partition("#")[0]):  # noqa: PTH110  Path.exists fails on names too long
        return
    for place in re.split(r"[,\s]+", spec):
        path = place.split("#")[0]
        names_files = path.endswith(".npz") or "/" in path or glob.has_magic(path)
        # Path.glob refuses absolute patterns, and a name may hold a comma or a space
        if names_files and ":" not in path and not glob.glob(path):  # noqa: PTH207
            raise DataError(f"{option} {spec!r}: no file or folder matches {path!r}; check the path.")
