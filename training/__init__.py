"""Learning from good images: tiles, synthetic damage, the repair network and its training loop."""
