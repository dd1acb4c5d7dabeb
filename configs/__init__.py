"""Settings files that ship with flawmap."""
