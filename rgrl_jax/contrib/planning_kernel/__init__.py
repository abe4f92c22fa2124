"""Gradient planning through GRU models as one GPU kernel, written in Pallas for Triton.

Has never run on a GPU; tested interpreted against XLA only.
"""

from rgrl_jax.contrib.planning_kernel.kernel import descend_rows, refusal

__all__ = ["descend_rows", "refusal"]
