"""RL-Pruner (Wang and Kindratenko, 2024): learn how pruning is shared among the layers."""

from deploycompress.search.rl_pruner.engine import ask, init, tell
from deploycompress.search.rl_pruner.settings import RlPrunerSettings, merge_steps, scale_to
from deploycompress.search.rl_pruner.state import State, restore

Settings = RlPrunerSettings

__all__ = ["RlPrunerSettings", "Settings", "State", "ask", "init", "merge_steps", "restore", "scale_to", "tell"]
