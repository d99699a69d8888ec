"""Options with which a whole run on the command line takes seconds: what ships is measured once, and briefly."""

from __future__ import annotations

QUICKLY = ("--set", "ship.starts=1", "--set", "ship.seconds=1")
