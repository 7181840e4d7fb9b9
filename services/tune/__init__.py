"""Sweeps: experiments that a file describes, run on Ray Tune and answered by a table and a plot."""
