"""Class maps of many scenes: a job that spreads them over a Ray cluster."""
