"""Class maps of rasters of any size: windows in, blended and reduced rows out."""
