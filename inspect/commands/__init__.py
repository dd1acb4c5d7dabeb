"""The commands of `flawmap`; each loads what it needs once it runs."""
