"""Why an agent did not start or ended, in words, and what to do about it."""

from __future__ import annotations

import re
import signal

from deploycompress.measuring.reach.failures import UnreachableError
from deploycompress.measuring.reach.target import Target, TargetKind
from deploycompress.measuring.reach.words import shown

_PYTHON_MISSING = "no Python was found there under that name; install Python 3.8 or newer, or name it in the target (ssh://...?python=/path/to/python3)"
# The first that fits counts; what ssh and shells say, and what a user can do.
_SSH_ADVICE = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed",
        "the device shows another host key than the known one; if it was set up anew, take the old key out with "
        "ssh-keygen -R HOST, otherwise do not trust it",
    ),
    (
        "Host key verification failed|No .* host key is known",
        "its host key is not known; connect once by hand with ssh and compare the key, or name a file that has it: "
        "known_hosts=FILE",
    ),
    ("bad permissions|UNPROTECTED PRIVATE KEY", "others can read the private key; chmod 600 it"),
    (
        "Permission denied|Too many authentication failures",
        "the device does not let this account in; add the public key to its authorized_keys (ssh-copy-id), or name the "
        "key: identity=FILE",
    ),
    ("Connection refused", "no ssh server listens there; check the port, and that sshd runs on the device"),
    ("Could not resolve hostname", "the name is not known; check its spelling, or write the address"),
    (
        "timed out|No route to host|Network is unreachable|Host is down",
        "nothing answers at this address; is the device on, and on this network?",
    ),
    (
        "[Bb]ad configuration option|Can't open user config file|terminating, .* bad configuration",
        "ssh does not understand its configuration; correct that file",
    ),
    (
        "kex_exchange_identification|Connection closed by|Connection reset by|banner exchange",
        "something there ends the connection at once; is it an ssh server, and does it allow this account?",
    ),
)
_ADVICE = (
    (
        r"is too old, [\d.]+ is needed|Unknown option: -[IB]",
        "its Python is too old; install Python 3.8 or newer there, or name it in the target (ssh://...?python=/path/to/python3)",
    ),
    ("No space left on device|Disk quota exceeded", "its disk is full; make room there"),
)
_SHOWN = 300
_NOT_FOUND = re.compile(r"not found|No such file or directory|cannot execute|executable file")
_TOO_NEW = re.compile(r"Unsupported model IR version|till opset|under development|is not a registered function/op")


def start_failure(target: Target, code: int | None, words: str) -> UnreachableError:
    """Say why no agent answers.

    Args:
        target: where it was to be started.
        code: exit code of the command; None while it runs.
        words: its standard error.
    """
    said = f": {shown(words, _SHOWN).rstrip('.')}" if words.strip() else ""
    ended = "gave no sign" if code is None else way_of_ending(code)
    advice = _advice(target, code, words) or "try the same command by hand"
    return UnreachableError(
        f"The agent on {target.name} does not start ({ended}{said}); {advice}{'' if advice.endswith('?') else '.'}"
    )


def way_of_ending(code: int) -> str:
    """Say what an exit code means; below zero it is a signal."""
    return f"ended with code {code}" if code >= 0 else f"was ended by {_name(code)}"


def chatter(target: Target, seen: bytes) -> str:
    """Say what to do about a device that speaks before, or between, the agent's frames.

    Args:
        target: the device.
        seen: the first of what it said.
    """
    return (
        f"{target.name} sent {shown(seen.decode(errors='replace'), 120)!r} where a frame of the agent was expected; a "
        "start-up file of that account (such as .bashrc) may write to standard output, or a terminal may stand "
        "between: keep it silent for commands, as for scp."
    )


def rejection_advice(onnxruntime: str, sentence: str) -> str:
    """Say more about a model that ONNX Runtime refuses because it is newer.

    Args:
        onnxruntime: version on the device.
        sentence: what it said.
    """
    if not _TOO_NEW.search(sentence):
        return sentence
    return (
        f"{sentence} ONNX Runtime {onnxruntime} of the device is too old for this model: export it with a lower opset "
        "and IR version (max_opset and max_ir of the profile say which), or upgrade ONNX Runtime there."
    )


def _advice(target: Target, code: int | None, words: str) -> str:
    table = _ADVICE + (_SSH_ADVICE if target.kind is TargetKind.SSH else ())
    for pattern, advice in table:
        if re.search(pattern, words):
            return advice
    if not target.is_local and (code in (126, 127) or _NOT_FOUND.search(words)):
        return _PYTHON_MISSING
    return ""


def _name(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
