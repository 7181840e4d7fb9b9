"""Evaluation of methods: all methods are tested in the same way."""

from icss_core.evaluation.interactive import (
    ImageScore,
    SessionScores,
    TrueImage,
    map_image,
    run_session,
    score_map,
)

__all__ = ["ImageScore", "SessionScores", "TrueImage", "map_image", "run_session", "score_map"]
