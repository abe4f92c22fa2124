"""Figures and GIFs of runs, drawn without pyplot, so nothing has to be closed."""
