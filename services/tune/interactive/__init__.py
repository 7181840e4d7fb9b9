"""Sweeps of sessions: one class from clicks on one image after another (ICSS)."""
