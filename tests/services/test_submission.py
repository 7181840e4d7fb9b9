import os

import pytest

from services.errors import TrainingError
from services.submission import PretrainingState, submit_pretraining

LOG = """\
Job submission server address: http://127.0.0.1:8265
(TrainController pid=1) pretraining: iteration 0/1000, 0 s
(TrainController pid=1) pretraining: iteration 46/1000, 12 s; loss 0.1153, 31.0 crops/s
(TrainController pid=1) pretraining: iteration 92/1000, 24 s; loss 0.1850, 30.1 crops/s; \
val_iou/background 0.950; val_iou/wide road 0.780; val_miou 0.865; checkpoint saved
"""


def test_state_follows_the_log():
    state = PretrainingState()
    told = [state.read(line) for line in LOG.splitlines()]
    assert told == [False, True, True, True]
    assert (state.step, state.steps, state.seconds, state.loss) == (92, 1000, 24, 0.185)
    assert state.iou == {"background": 0.95, "wide road": 0.78}
    assert state.version is None
    assert state.read("registered my town version 3; it is the memory now")
    assert state.version == 3


def test_a_job_that_cannot_be_submitted_is_one_error(tmp_path):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:9",
        "RAY_AUTH_MODE": "disabled",
    }
    lines = []
    with pytest.raises(TrainingError, match="the pretraining job failed"):
        submit_pretraining(
            ["--help"], environment=environment, log=tmp_path / "job.log", on_line=lines.append
        )
    assert (tmp_path / "job.log").read_text().splitlines() == lines
