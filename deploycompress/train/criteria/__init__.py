"""Which channels matter: one criterion a file, all behind `score_channels`."""
