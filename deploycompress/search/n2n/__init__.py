"""N2N learning (Ashok et al., 2018): two recurrent policies, one that removes layers and one that shrinks the rest."""

from deploycompress.search.n2n.engine import ask, init, policies_of, tell
from deploycompress.search.n2n.policy_file import Policies, load_policies, save_policies
from deploycompress.search.n2n.settings import Method, Settings
from deploycompress.search.n2n.state import State, restore

__all__ = [
    "Method",
    "Policies",
    "Settings",
    "State",
    "ask",
    "init",
    "load_policies",
    "policies_of",
    "restore",
    "save_policies",
    "tell",
]
