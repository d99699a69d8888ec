"""Ways to a device: where it is, what command starts the agent there, and a connection to it."""
