"""Remembers on disk what a run has done: lines that only grow, and files that are replaced whole."""
