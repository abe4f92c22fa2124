"""Code that is not proven yet, imported by nothing else in the library.

`rgrl_jax.contrib.planning_kernel` has never run on a GPU; tested interpreted against XLA only.
"""
