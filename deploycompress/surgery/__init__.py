"""Plan and graph make a student; the oracle proves it."""
