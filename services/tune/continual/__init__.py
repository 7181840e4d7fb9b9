"""Sweeps of protocols: classes in groups, step after step, from masks of many images (MiB)."""
