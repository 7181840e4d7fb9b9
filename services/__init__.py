"""The product around the science: storage (S3), registry (MLflow), training jobs, serving, command line."""
