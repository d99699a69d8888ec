"""A real OpenSSH server on loopback with keys and configuration of its own, and an account that is not root's."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

_START_SECONDS = 20.0
_NO_SHELLS = {"nologin", "false", "sync", "halt", "shutdown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who the server runs as, and with which interpreter.

    Attributes:
        name: of the user.
        prefix: words that run a command as that user; empty when it is this one.
        python: an interpreter with ONNX Runtime that the user can run.
    """

    name: str
    prefix: tuple[str, ...]
    python: str

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command as the user."""
        return subprocess.run([*self.prefix, *words], capture_output=True, text=True, timeout=60, cwd="/")


class SshServer:
    """One board: a server with its own host key and its own folder for temporary files."""

    def __init__(self, account: Account, folder: Path, *, port: int | None = None) -> None:
        self.account = account
        self.folder = folder
        self.port = port or _free_port()
        self.temporary = folder / "tmp"
        self.known_hosts, self.identity, self.config = (folder / name for name in ("known_hosts", "id", "config"))
        if not self.known_hosts.exists():
            self._furnish()
        self._process = subprocess.Popen(
            [*account.prefix, _sshd(), "-D", "-e", "-f", str(folder / "sshd_config")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
        self._wait_until_up()

    def target(self, **changes: str) -> str:
        """Write the text of a target; `host`, `port`, `user` and options can be others than the server's."""
        options = {"python": self.account.python, "identity": str(self.identity), "config": str(self.config)}
        options |= {"known_hosts": str(self.known_hosts)} | changes
        host, port = options.pop("host", "127.0.0.1"), options.pop("port", str(self.port))
        user = options.pop("user", self.account.name)
        query = "&".join(f"{key}={quote(value)}" for key, value in options.items() if value)
        return f"ssh://{user}@{host}:{port}?{query}"

    def left_behind(self) -> list[str]:
        """Name what lies in the folder for temporary files."""
        return sorted(path.name for path in self.temporary.rglob("*"))

    def agents(self) -> list[int]:
        """Give the process numbers of the agents that run below this server."""
        own = descendants(self._process.pid)
        return [pid for pid in own if "exec(b[" in _command_line(pid)]

    def kill(self) -> None:
        """End the server and everything it started, at once, as if the board lost its power."""
        for pid in (*descendants(self._process.pid), self._process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()

    def _furnish(self) -> None:
        self.temporary.mkdir(parents=True)
        for name in ("host_key", "id"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)], check=True)
        self.config.write_text("")
        host_key = (self.folder / "host_key.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host_key}")
        (self.folder / "authorized_keys").write_text((self.folder / "id.pub").read_text())
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host_key\nPidFile none\nUsePAM no\n"
            f"StrictModes no\nAuthorizedKeysFile {self.folder}/authorized_keys\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSetEnv TMPDIR={self.temporary}\n"
        )
        if self.account.prefix:
            entry = pwd.getpwnam(self.account.name)
            for path in (self.folder, self.temporary, self.folder / "host_key"):
                os.chown(path, entry.pw_uid, entry.pw_gid)

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self._process.kill()
        _, said = self._process.communicate()
        pytest.fail(f"sshd does not start: {said.decode(errors='replace')}")


def device_account(folder: Path) -> Account:
    """Find an account for the server: this one, or one without privileges when this is root's.

    Args:
        folder: readable by everybody; an interpreter for the account is made there where that is needed.
    """
    _sshd()
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no OpenSSH client on this machine")
    if os.getuid() != 0:
        return Account(name=getpass.getuser(), prefix=(), python=sys.executable)
    for entry in pwd.getpwall():
        setpriv = shutil.which("setpriv")
        if setpriv is None or entry.pw_uid == 0 or Path(entry.pw_shell).name in _NO_SHELLS or not _can_enter(entry):
            continue
        prefix = (setpriv, f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups")
        account = Account(name=entry.pw_name, prefix=prefix, python=_interpreter_for(prefix, folder))
        if account.python:
            return account
    return Account(name="root", prefix=(), python=sys.executable)  # better than no test at all


def free_folder() -> Path:
    """Make a folder that other users can look into, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="reach-", dir="/tmp"))
    folder.chmod(0o755)
    return folder


def descendants(pid: int) -> list[int]:
    """Give the process numbers of all children of a process, and of theirs."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _can_enter(entry: pwd.struct_passwd) -> bool:
    return Path(entry.pw_shell).exists() and Path(entry.pw_dir).is_dir()


def _interpreter_for(prefix: tuple[str, ...], folder: Path) -> str:
    """Give this interpreter, or where the account may not see it, a system one that finds our packages."""
    probe = [*prefix, "/usr/bin/env", "-i"]
    if _works(probe, sys.executable):
        return sys.executable
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if not Path(system).exists():
        return ""
    home = folder / "python"
    subprocess.run([system, "-m", "venv", "--without-pip", str(home)], check=True, capture_output=True)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text(sysconfig.get_paths()["purelib"])
    python = str(home / "bin" / "python")
    return python if _works(probe, python) else ""


def _works(probe: list[str], python: str) -> bool:
    # Through a shell, which asks the system for this very file and looks for no other.
    words = [
        "ORT_DISABLE_TELEMETRY=1",
        "/bin/sh",
        "-c",
        f"test -x {python} && exec {python} -I -c 'import onnxruntime'",
    ]
    return subprocess.run([*probe, *words], capture_output=True, cwd="/").returncode == 0


def _sshd() -> str:
    for found in (shutil.which("sshd"), "/usr/sbin/sshd"):
        if found and Path(found).exists():
            return found
    pytest.skip("no OpenSSH server (sshd) on this machine")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
