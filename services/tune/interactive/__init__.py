"""Interactive sweeps: one class learnt from clicks, on one image after another (ICSS)."""
