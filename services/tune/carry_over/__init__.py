"""Sweeps that score updates on images that nobody clicked."""
