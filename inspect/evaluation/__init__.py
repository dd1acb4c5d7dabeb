"""How good a run is, against a truth that people drew."""
