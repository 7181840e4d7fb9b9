"""Dense steps: new classes learnt from masks of many images, one group of classes after another."""

from icss_core.incremental.dense_step import dense_objective, first_step_of, weight_anchor_of

__all__ = ["dense_objective", "first_step_of", "weight_anchor_of"]
