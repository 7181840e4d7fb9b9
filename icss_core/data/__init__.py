"""Crops of labelled scenes: windows cut, resized, mirrored and stacked into the batches a training sees."""
