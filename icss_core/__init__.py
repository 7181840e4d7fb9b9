"""The science: label spaces, networks, losses, methods, clicks, rasters, training, inference, metrics.

Pure PyTorch and numpy; rasterio only inside `icss_core.raster`. Nothing here knows about Ray, MLflow,
HTTP, S3 clients or environment variables, so the same functions give the same numbers in a notebook, a Ray
Train worker and a Serve replica.
"""
