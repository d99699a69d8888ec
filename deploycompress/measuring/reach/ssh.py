"""A device behind the system's ssh client, which brings the user's own configuration, keys and known hosts."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from deploycompress.errors import UsageError
from deploycompress.measuring.reach.bundle import INTERPRETER_OPTIONS
from deploycompress.measuring.reach.command import QUOTED_BOOTSTRAP

KEYS = ("python", "identity", "config", "known_hosts")
CONNECT_SECONDS = 10

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?")
_PYTHON = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./+-]*")
_ODD_IN_FILE = re.compile(r"[\"%$\\\x00-\x1f\x7f]")  # what ssh itself would replace or take for the end

# Nobody is there to answer questions, nothing is forwarded, no terminal changes bytes, and a device that is gone
# is noticed within a minute. How host keys are checked stays as the user has it.
_OPTIONS = (
    "BatchMode=yes",
    f"ConnectTimeout={CONNECT_SECONDS}",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "ControlPath=none",
    "RemoteCommand=none",
    "RequestTTY=no",
    "PermitLocalCommand=no",
    "LogLevel=ERROR",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where ssh connects to.

    Attributes:
        host: name or address, or a `Host` of the user's configuration.
        user: account there; empty for the configuration's.
        port: None for the configuration's.
        python: interpreter on the device.
        identity: private key file; None for the configuration's.
        config: configuration file; None for the user's.
        known_hosts: file of host keys; None for the user's.
    """

    host: str
    user: str = ""
    port: int | None = None
    python: str = "python3"
    identity: Path | None = None
    config: Path | None = None
    known_hosts: Path | None = None


def parse_destination(text: str) -> Destination:
    """Read `ssh://[user@]host[:port][?python=...&identity=FILE&config=FILE&known_hosts=FILE]`.

    Raises:
        UsageError: a part is missing, unknown or has characters that could mean something else.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"Target {text!r} is no address: {error}; write ssh://user@host:port.") from error
    _require_bare(text, parts)
    user, host = parts.username or "", _host(text, parts)
    if user and not _NAME.fullmatch(user):
        raise UsageError(f"The user {user!r} of target {text!r} has odd characters; a user is letters, digits, _ . -")
    options = _options(text, parts.query)
    python = options.pop("python", "python3")
    if not _PYTHON.fullmatch(python):
        raise UsageError(
            f"python={python!r} is no path of an interpreter; write one such as python=/opt/venv/bin/python3."
        )
    return Destination(
        host=host, user=user, port=port, python=python, **{key: _file(key, value) for key, value in options.items()}
    )


def ssh_words(destination: Destination) -> tuple[str, ...]:
    """Give the command that runs the agent's interpreter on the device.

    Nothing a user wrote is read by a shell there but the interpreter's path, which has none of a shell's characters.
    """
    words = ["ssh", "-T", "-a", "-x"]
    if destination.config is not None:
        words += ["-F", str(destination.config)]
    for option in _OPTIONS:
        words += ["-o", option]
    if destination.identity is not None:
        words += ["-o", "IdentitiesOnly=yes", "-i", str(destination.identity)]
    if destination.known_hosts is not None:
        words += ["-o", f'UserKnownHostsFile="{destination.known_hosts}"']
    if destination.user:
        words += ["-l", destination.user]
    if destination.port is not None:
        words += ["-p", str(destination.port)]
    remote = ["exec", shlex.quote(destination.python), *INTERPRETER_OPTIONS, QUOTED_BOOTSTRAP]
    return (*words, "--", destination.host, " ".join(remote))


def _require_bare(text: str, parts: SplitResult) -> None:
    if parts.password is not None:
        raise UsageError("A target takes no password; use a key, and ssh-agent for its passphrase.")
    if parts.path not in ("", "/") or parts.fragment:
        raise UsageError(f"Target {text!r} has more than a host: write ssh://user@host:port?python=/path/to/python.")


def _host(text: str, parts: SplitResult) -> str:
    host = parts.netloc.rpartition("@")[2]
    if host.startswith("["):
        address = host[1:].partition("]")[0]
        if _IPV6.fullmatch(address):
            return address
        raise UsageError(f"Target {text!r} names no host: [{address}] is no IPv6 address.")
    name = host.partition(":")[0]  # as it was written: names in a configuration are case-sensitive
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"Target {text!r} has {name!r} for a host; a host is letters, digits, _ . - and does not begin with a -"
        )
    return name


def _options(text: str, query: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in query.split("&")] if query else []
    unreadable = [key for key, equals, value in pairs if not (key and equals and value)]
    if unreadable:
        raise UsageError(f"Target {text!r}: option {unreadable[0]!r} has no value; write ?key=value&key=value.")
    options = {key: unquote(value) for key, _, value in pairs}
    unknown = [key for key, _, _ in pairs if key not in KEYS]
    if unknown:
        raise UsageError(f"Target {text!r} has the unknown key {unknown[0]!r}; known are {', '.join(KEYS)}.")
    if len(options) < len(pairs):
        raise UsageError(f"Target {text!r} has a key twice; write each once.")
    return options


def _file(key: str, value: str) -> Path:
    if not value or _ODD_IN_FILE.search(value):
        raise UsageError(
            f'{key}={value!r} is no file name ssh takes as it is: it is empty, or has one of " % $ \\ in it.'
        )
    path = Path(value).expanduser().absolute()
    if not path.is_file():
        raise UsageError(f"{key}={value}: there is no such file.")
    return path
