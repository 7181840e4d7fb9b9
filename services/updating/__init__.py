"""A class from clicks on many images, as a job of a cluster; the HTTP service adds one from a single image.

ray job submit -- python -m services.updating --model town --new-class building --clicks s3://.../a.tif=s3://.../a.geojson
"""
