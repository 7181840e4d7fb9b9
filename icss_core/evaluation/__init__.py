"""Evaluation of methods: all methods are tested in the same way."""

from icss_core.evaluation.carry_over import CarriedScore, score_image, update_from_truth
from icss_core.evaluation.interactive import (
    ImageScore,
    SessionScores,
    TrueImage,
    map_image,
    run_session,
    score_map,
)

__all__ = [
    "CarriedScore",
    "ImageScore",
    "SessionScores",
    "TrueImage",
    "map_image",
    "run_session",
    "score_image",
    "score_map",
    "update_from_truth",
]
