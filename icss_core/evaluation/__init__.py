"""Protocols: how a method is put to the test, so that two methods are asked the same question."""

from icss_core.evaluation.interactive import (
    ImageScore,
    SessionScores,
    TrueImage,
    map_image,
    run_session,
    score_map,
)

__all__ = ["ImageScore", "SessionScores", "TrueImage", "map_image", "run_session", "score_map"]
