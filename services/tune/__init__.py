"""Sweeps: an experiment as data, its trials on Ray Tune, its answer as a table and a plot."""
