"""Lower precision: the float graph that ships becomes one of 8-bit integers or of half precision."""
