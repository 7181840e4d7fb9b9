"""Tasks as jobs: a protocol's groups of classes, one Ray Train job and one registered version each.

ray job submit -- python -m services.continual --dataset s3://.../dataset.yaml --model m --protocol voc-15-1
"""

from services.continual.config import ProtocolRun

__all__ = ["ProtocolRun"]
