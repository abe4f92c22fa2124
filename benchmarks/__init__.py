"""Scripts that measure the library; their results stand in ``results/``."""
