"""What a device's latency makes of channel counts: staircases, channel quanta, and a table of layer latencies."""
