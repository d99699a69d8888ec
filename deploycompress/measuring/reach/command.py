"""A device behind a command of the user's: docker, kubectl, adb, or whatever carries standard input and output.

Such as `exec:docker exec -i board python3 -I -c {bootstrap}`, `exec:kubectl exec -i pod/board -- python3 -I -c
{bootstrap}` and, because it joins its words for a shell again, `exec:adb shell -T python3 -I -c {bootstrap_quoted}`.
"""

from __future__ import annotations

import shlex

from deploycompress.errors import UsageError

BOOTSTRAP_WORD = "{bootstrap}"
QUOTED_BOOTSTRAP = "{bootstrap_quoted}"

_EXAMPLE = "exec:docker exec -i NAME python3 -I -c {bootstrap}"


def command_words(template: str) -> tuple[str, ...]:
    """Split a command template; no shell ever reads it.

    Args:
        template: a command in which `{bootstrap}` is one word, or `{bootstrap_quoted}` stands for it quoted once.

    Raises:
        UsageError: the template has no place for the bootstrap, or more than one, or cannot be split.
    """
    if not template.isprintable():
        raise UsageError(f"The target's command {template!r} has characters that cannot be printed; write it anew.")
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise UsageError(f"The target's command {template!r} cannot be split: {error}; close its quotes.") from error
    places = sum((word == BOOTSTRAP_WORD) + word.count(QUOTED_BOOTSTRAP) for word in words)
    inside = [word for word in words if BOOTSTRAP_WORD in word and word != BOOTSTRAP_WORD]
    if inside:
        raise UsageError(
            f"{BOOTSTRAP_WORD} must be a word of its own, found {inside[0]!r}; inside a word for another shell write "
            f"{QUOTED_BOOTSTRAP}."
        )
    if places != 1 or not _is_program(words[0]):
        raise UsageError(
            f"The target's command {template!r} needs a program and one place for the agent's first line; write "
            f"{BOOTSTRAP_WORD} (or {QUOTED_BOOTSTRAP} where another shell reads it), such as {_EXAMPLE!r}."
        )
    return tuple(words)


def _is_program(word: str) -> bool:
    return bool(word) and not word.startswith("-") and BOOTSTRAP_WORD not in word and QUOTED_BOOTSTRAP not in word
