"""A busy server for a long time, and its leftovers: processes, samples, a verdict. ``python -m bench.soak``."""
