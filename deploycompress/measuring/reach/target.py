"""Where to measure: this machine, a device reached by ssh, or one reached by a command of the user's."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from enum import StrEnum

from deploycompress.errors import UsageError
from deploycompress.measuring.reach.bundle import INTERPRETER_OPTIONS
from deploycompress.measuring.reach.command import BOOTSTRAP_WORD, QUOTED_BOOTSTRAP, command_words
from deploycompress.measuring.reach.ssh import parse_destination, ssh_words


class TargetKind(StrEnum):
    """How a device is reached."""

    LOCAL = "local"
    SSH = "ssh"
    EXEC = "exec"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A place to measure at.

    Attributes:
        kind: how it is reached.
        text: as it was written.
        words: the command that starts the agent's interpreter, with a place for the bootstrap in it.
    """

    kind: TargetKind
    text: str
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """What messages call it: the text without its options."""
        return self.text.partition("?")[0] if self.kind is TargetKind.SSH else self.text

    @property
    def is_local(self) -> bool:
        """Whether it is this machine, with this interpreter."""
        return self.kind is TargetKind.LOCAL

    def argv(self, bootstrap: str) -> list[str]:
        """Give the command that starts the agent.

        Args:
            bootstrap: constant program text for the device's interpreter.
        """
        quoted = shlex.quote(bootstrap)
        return [bootstrap if word == BOOTSTRAP_WORD else word.replace(QUOTED_BOOTSTRAP, quoted) for word in self.words]


LOCAL = Target(kind=TargetKind.LOCAL, text="local", words=(sys.executable, *INTERPRETER_OPTIONS, BOOTSTRAP_WORD))


def parse_target(text: str) -> Target:
    """Read `local`, `ssh://[user@]host[:port][?python=...]` or `exec:COMMAND`.

    Raises:
        UsageError: the text is none of these, or has keys or characters that are not known.
    """
    if text == "local":
        return LOCAL
    if text.startswith("ssh://"):
        return Target(kind=TargetKind.SSH, text=text, words=ssh_words(parse_destination(text)))
    if text.startswith("exec:"):
        return Target(kind=TargetKind.EXEC, text=text, words=command_words(text.removeprefix("exec:")))
    raise UsageError(
        f"Target {text!r} is not known; write local, ssh://user@host:port?python=/path/to/python, or exec: and a "
        f"command with {BOOTSTRAP_WORD} in it."
    )
