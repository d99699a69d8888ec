"""The default engine: what goes is decided block by block and width by width, at the limit, by one learned policy."""

from deploycompress.search.joint.engine import ask, init, policies_of, tell
from deploycompress.search.joint.settings import Settings
from deploycompress.search.joint.state import State, restore

__all__ = ["Settings", "State", "ask", "init", "policies_of", "restore", "tell"]
