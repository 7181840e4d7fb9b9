"""Penalties on changing weights that are important for old classes (EWC, PI, RW)."""
