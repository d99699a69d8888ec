"""Channels of a graph: labels, one rule per operator, groups."""
