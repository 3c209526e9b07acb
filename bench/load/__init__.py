"""Many streams at once, and the soak: `python -m bench.load`."""
