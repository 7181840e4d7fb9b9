"""Windowed reading and writing of rasters: masks, CRS, bands, data types."""
