"""The one training loop: pretraining on Ray workers, updates, benchmarks and tests all run it."""

from icss_core.training.fit import (
    Fit,
    IterationReport,
    Objective,
    Optimisation,
    cross_entropy_objective,
)

__all__ = ["Fit", "IterationReport", "Objective", "Optimisation", "cross_entropy_objective"]
