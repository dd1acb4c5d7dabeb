"""Pixels and geometry: reading images, cutting them into tiles, stitching score maps, finding regions."""
