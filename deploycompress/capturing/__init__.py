"""Turns a model file into the teacher graph without running what the file says."""
