"""Pretraining of memory networks on Ray Train, reading crops from S3 and logging to MLflow.

ray job submit -- python -m services.training --dataset s3://bucket/set/dataset.yaml --model town
"""

from services.training.config import TrainingConfig

__all__ = ["TrainingConfig"]
