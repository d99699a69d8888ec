"""What `doctor` looks at on the machine that runs the program: packages, the ssh client, telemetry."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from importlib import metadata

from deploycompress.pipeline.doctor_findings import Diagnosis, Finding, Level
from deploycompress.profile_advice import parse_version

PACKAGE = "deploycompress"
TELEMETRY_VARIABLE = "ORT_DISABLE_TELEMETRY"

_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)\s*(?:>=\s*(?P<least>[\d.]+))?[^;]*(?:;.*extra == [\"'](?P<extra>\w+)[\"'])?"
)
_DEVELOPMENT = frozenset({"dev"})  # extras that no user needs


def diagnose_host(*, needs_ssh: bool = False) -> Diagnosis:
    """Look at the program's own surroundings.

    Args:
        needs_ssh: whether a device is to be reached by ssh.
    """
    python = Finding(topic="python", value=platform.python_version())
    return Diagnosis(place="host", findings=(python, *_packages(), _ssh(needs_ssh), _telemetry()))


def _packages() -> Iterator[Finding]:
    try:
        requirements = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        yield Finding(
            topic=PACKAGE,
            value="not installed",
            level=Level.NOTE,
            advice="It runs from its source folder; its requirements cannot be checked. Install it: pip install .",
        )
        return
    seen = set()
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match and match["name"] not in seen and match["extra"] not in _DEVELOPMENT:
            seen.add(match["name"])
            yield _package(match["name"], match["least"] or "", match["extra"] or "")


def _package(name: str, least: str, extra: str) -> Finding:
    missing = Level.NOTE if extra else Level.PROBLEM
    install = f"pip install '{PACKAGE}[{extra}]'" if extra else f"pip install '{name}>={least or '0'}'"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        why = f"Needed for {PACKAGE}[{extra}] only: {install}" if extra else f"Install it: {install}"
        return Finding(topic=name, value="not installed", level=missing, advice=why)
    if parse_version(version) < parse_version(least):
        return Finding(topic=name, value=version, level=missing, advice=f"At least {least} is needed: {install}")
    return Finding(topic=name, value=version)


def _ssh(is_needed: bool) -> Finding:
    if shutil.which("ssh"):
        return Finding(topic="ssh client", value="found")
    level = Level.PROBLEM if is_needed else Level.NOTE
    advice = "Install OpenSSH's client to reach devices by ssh://."
    return Finding(topic="ssh client", value="not found", level=level, advice=advice)


def _telemetry() -> Finding:
    setting = os.environ.get(TELEMETRY_VARIABLE, "1")  # the program sets 1 where nobody did
    if setting == "1":
        return Finding(topic="ONNX Runtime telemetry", value="off")
    return Finding(
        topic="ONNX Runtime telemetry",
        value=f"on in this process ({TELEMETRY_VARIABLE}={setting}), off where it is measured",
        level=Level.NOTE,
        advice=f"Unset {TELEMETRY_VARIABLE}, or set it to 1.",
    )
