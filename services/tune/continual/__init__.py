"""Continual sweeps: classes learnt in groups, task after task, from masks of many images (MiB)."""
