from __future__ import annotations

import asyncio

import pytest

from services.errors import TrainingError
from services.pretraining_progress import PretrainingProgress, PretrainingResult
from services.submission import lines_of, submit_pretraining

BEFORE = "\x1b[36m(TrainController pid=1)\x1b[0m "


def test_what_is_written_is_read_behind_whatever_ray_puts_before_it() -> None:
    progress = PretrainingProgress(
        iteration=92,
        iterations=1000,
        seconds=24.0,
        loss=0.185,
        scores={"val_iou/wide road": 0.78, "val_miou": 0.865},
        saved=True,
    )
    assert PretrainingProgress.read(BEFORE + progress.line()) == progress
    result = PretrainingResult(model="my {town}: registered", version=3)
    assert PretrainingResult.read(result.line()) == result


@pytest.mark.parametrize(
    "line",
    [
        "",
        "pretraining: soon",
        'pretraining: {"iteration": 3',
        'pretraining: {"iteration": "many", "iterations": 5, "seconds": 1}',
        'registered: {"model": "town", "version": 3}',
    ],
)
def test_other_lines_are_no_progress(line: str) -> None:
    assert PretrainingProgress.read(line) is None


def test_lines_come_whole_however_the_log_is_cut() -> None:
    text = f"{BEFORE}one\ntwo \r\n\nthree"

    async def read(size: int) -> list[str]:
        async def chunks():
            for start in range(0, len(text), size):
                yield text[start : start + size]

        return [line async for line in lines_of(chunks())]

    for size in (1, 3, 1000):
        assert asyncio.run(read(size)) == ["(TrainController pid=1) one", "two", "", "three"]


def test_a_job_that_cannot_be_submitted_is_one_error(monkeypatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(TrainingError, match=r"could not be submitted.*127\.0\.0\.1:9"):
        submit_pretraining(["--help"], address="http://127.0.0.1:9")
