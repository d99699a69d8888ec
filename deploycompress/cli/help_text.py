"""How help pages are laid out: one sentence, examples, options, exit codes."""

from __future__ import annotations

_KEEP_LINES = "\b\n"  # click rewraps every paragraph that does not start with this

EXIT_CODES = f"""{_KEEP_LINES}Exit codes:
  0    all constraints met
  1    ran, but a constraint is not met
  2    usage or configuration
  3    model refused or unsupported
  4    device unavailable or measurement inconclusive
  5    internal error
  130  interrupted, 143 terminated, 141 output closed by its reader
"""


def with_examples(sentence: str, *examples: str, afterwards: str = "") -> str:
    """Compose a help page's opening.

    Args:
        sentence: what the command does.
        examples: command lines, each with its own line breaks.
        afterwards: a paragraph below the examples.

    Returns:
        Text for click's `help`.
    """
    lines = "\n".join(f"  {line}" for example in examples for line in example.split("\n"))
    return f"{sentence}\n\n{_KEEP_LINES}Examples:\n{lines}\n\n{afterwards}"
