"""From a trained checkpoint to the bundle that a line PC runs."""
