"""How long the parts take, each beside the usual peers, on the machine at hand: `python -m benchmarks.kernels`."""
