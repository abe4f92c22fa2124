"""Figures and GIFs of runs, see `rgrl_jax.plots`."""
