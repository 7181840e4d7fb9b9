"""All services of one machine: a real S3 server, MLflow, a Ray head, on loopback addresses only."""

from services.local.stack import LocalStack, Ports

__all__ = ["LocalStack", "Ports"]
