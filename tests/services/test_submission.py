from __future__ import annotations

import asyncio
import threading

import pytest
import ray
from aiohttp import web

from services.errors import TrainingError
from services.submission import lines_of, submit_pretraining
from services.training_progress import RegisteredLine, TrainingLine

BEFORE = "\x1b[36m(TrainController pid=1)\x1b[0m "


def test_what_is_written_is_read_behind_whatever_ray_puts_before_it() -> None:
    progress = TrainingLine(
        iteration=92,
        iterations=1000,
        seconds=24.0,
        loss=0.185,
        scores={"val_iou/wide road": 0.78, "val_miou": 0.865},
        saved=True,
    )
    assert TrainingLine.read(BEFORE + progress.line()) == progress
    result = RegisteredLine(model="my {town}: registered", version=3)
    assert RegisteredLine.read(result.line()) == result


@pytest.mark.parametrize(
    "line",
    [
        "",
        "training: soon",
        'training: {"iteration": 3',
        'training: {"iteration": "many", "iterations": 5, "seconds": 1}',
        'registered: {"model": "town", "version": 3}',
    ],
)
def test_other_lines_are_no_progress(line: str) -> None:
    assert TrainingLine.read(line) is None


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


@pytest.fixture
def jobs_server():
    """Ray's HTTP for jobs, with a dashboard that restarts: the first connection for the log breaks off."""
    tails: list[web.Request] = []

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"version": "4", "ray_version": ray.__version__})

    async def submit(_: web.Request) -> web.Response:
        return web.json_response({"job_id": "job", "submission_id": "job"})

    async def info(_: web.Request) -> web.Response:
        status = "SUCCEEDED" if len(tails) > 1 else "RUNNING"
        return web.json_response({"type": "SUBMISSION", "entrypoint": "x", "status": status})

    async def tail(request: web.Request) -> web.WebSocketResponse:
        tails.append(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        progress = TrainingLine(iteration=1, iterations=3, seconds=1.0)
        await socket.send_str(f"one\n{progress.line()}\nhal")
        if len(tails) == 1:
            request.transport.abort()
        else:
            await socket.send_str(f"f\n{RegisteredLine(model='town', version=4).line()}\n")
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/api/version", version)
    app.router.add_post("/api/jobs/", submit)
    app.router.add_get("/api/jobs/job", info)
    app.router.add_get("/api/jobs/job/logs/tail", tail)
    loop, started = asyncio.new_event_loop(), threading.Event()
    runner = web.AppRunner(app)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
    loop.call_soon(started.set)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started.wait()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_a_log_that_breaks_off_is_taken_up_where_it_was(jobs_server, tmp_path) -> None:
    lines: list[str] = []
    told: list[TrainingLine] = []
    version = submit_pretraining(
        [],
        address=jobs_server,
        token="a token",
        log=tmp_path / "job.log",
        on_line=lines.append,
        on_progress=told.append,
    )
    assert version == 4
    assert [one.iteration for one in told] == [1]
    assert (lines[0], lines[2], len(lines)) == ("one", "half", 4)
    assert (tmp_path / "job.log").read_text().splitlines() == lines
