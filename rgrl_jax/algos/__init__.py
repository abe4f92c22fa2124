"""Algorithms behind one interface, each with its config."""
