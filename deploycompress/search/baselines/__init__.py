"""Engines without a policy: what a learned search has to beat at equal cost. One file each, all honest attempts."""
