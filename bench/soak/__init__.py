"""A busy server for a long while, and what is left of it: processes, samples, a verdict. ``python -m bench.soak``."""
