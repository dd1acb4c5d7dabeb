"""Tiles in, scores out: the network on whatever device there is."""
