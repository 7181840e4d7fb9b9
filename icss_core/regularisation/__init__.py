"""Holding weights that mattered to what a network knows (EWC, PI, RW)."""
