"""A run of a protocol in one process, with a real store and a real MLflow server."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import ValidationError
from tiny_openearthmap import write_openearthmap

from icss_core.continual import IncrementalProtocol, TaskHistory, read_protocol
from icss_core.methods import get_dense_preset
from icss_core.networks.packaged_weights import PACKAGE
from services.continual import ProtocolRun, run
from services.continual.run import run_protocol
from services.ingest import ingest_openearthmap, ingest_town
from services.ownership import generation_of
from services.registry import Registry
from services.storage import Storage
from services.tracking import PRETRAINING, PROTOCOLS, Tracking

NUMBERS = {"crop": 64, "batch": 2, "epochs": None, "optimisation.iterations": 2, "area": None}


@pytest.fixture
def settings(mlflow_environment):
    return mlflow_environment


@pytest.fixture(scope="module")
def town(mlflow_settings):
    prefix = f"{mlflow_settings.data_prefix}/protocol-run"
    made = ingest_town(Storage(mlflow_settings), prefix, train=2, val=1, size=256, seed=3)
    return f"{made.base}/dataset.yaml"


def asked(town: str, model: str, **more) -> ProtocolRun:
    fields = {
        "protocol": IncrementalProtocol(name="roads", groups=[["road"], ["building"]]),
        "preset": get_dense_preset("mib-paper/ft", NUMBERS),
        "decoder": "linknet",
        "encoder": "tu-test_resnet",
        "workers": 0,
    }
    return ProtocolRun(dataset=town, model=model, **{**fields, **more})


def test_a_network_that_does_not_take_the_crops_is_refused_with_the_request():
    request = asked("s3://icss/none/dataset.yaml", "none").model_dump()
    with pytest.raises(ValidationError, match=r"crop is 64 pixels, and pan .*set crop to 128"):
        ProtocolRun.model_validate(request | {"decoder": "pan"})


def test_pretrained_weights_of_another_encoder_are_refused_with_the_request():
    request = asked("s3://icss/none/dataset.yaml", "none").model_dump()
    with pytest.raises(ValidationError, match="are those of encoder 'tu-tf_efficientnet_lite0'"):
        ProtocolRun.model_validate(request | {"encoder_weights": PACKAGE})


def record_of(settings, model: str):
    (record,) = Tracking(settings).find(PROTOCOLS, tags={"icss.model": model})
    return record


def trained(settings, model: str) -> list[str]:
    return [one.run_id for one in Tracking(settings).find(PRETRAINING, tags={"icss.model": model})]


def test_a_run_that_was_stopped_goes_on_however_it_is_spread(settings, town, monkeypatch):
    def stop(history: TaskHistory) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_protocol(asked(town, "spread", gpu=False), settings, after_task=stop)
    before, first = record_of(settings, "spread"), trained(settings, "spread")
    assert (before.status, before.tags["icss.status"]) == ("KILLED", "interrupted")
    assert len(first) == 1
    with monkeypatch.context() as patch:
        # another submission, with a worker, which gets as far as its first training
        patch.setattr(run, "pretrain", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no cluster")))
        with pytest.raises(RuntimeError, match="no cluster"):
            run_protocol(asked(town, "spread", workers=1), settings)
    assert record_of(settings, "spread").tags["icss.error"] == "RuntimeError: no cluster"
    told = []
    result = run_protocol(
        asked(town, "spread", cpus_per_worker=2, pictures=1), settings, after_task=told.append
    )
    after = record_of(settings, "spread")
    assert (after.run_id, after.status, after.tags["icss.status"]) == (
        before.run_id, "FINISHED", "successful"
    )  # fmt: skip
    assert result.versions == (1, 2)
    assert [len(history.iou) for history in told] == [1, 2], "the task that was done counts"
    assert trained(settings, "spread")[:1] == first
    assert len(trained(settings, "spread")) == 2
    assert json.loads(after.tags["icss.spread"])["pictures"] == 1
    assert {key for key in after.params if not key.startswith("lease.")} == {
        key for key in before.params if not key.startswith("lease.")
    }
    assert after.params["workers"] == "1", "none and one are the same"
    tracking = Tracking(settings)
    assert TaskHistory.model_validate(tracking.read_json(after.run_id, "history.json")) == result.history
    assert tracking.files(after.run_id, "maps") == ["maps/town-02.png"]


def test_two_processes_that_run_the_same_do_it_once(settings, town):
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run_protocol, asked(town, "twice"), settings) for _ in range(2)]
        first, second = (one.result() for one in runs)
    assert first == second
    assert len(trained(settings, "twice")) == 2
    assert len(Registry(settings).describe("twice").versions) == 2
    record = record_of(settings, "twice")
    assert (record.status, generation_of(record)) == ("FINISHED", 2)


def test_a_challenge_ends_with_its_own_number(settings, tmp_path):
    made = ingest_openearthmap(
        Storage(settings), write_openearthmap(tmp_path), f"{settings.data_prefix}/openearthmap"
    )
    address = f"{made.base}/dataset.yaml"
    result = run_protocol(
        asked(
            address,
            "challenge",
            protocol=read_protocol("openearthmap-fewshot"),
            preset=get_dense_preset("mib-paper/mib", NUMBERS),
        ),
        settings,
    )
    last = result.history.iou[-1]
    base, novel = (sum(last[name] for name in group) / len(group) for group in result.history.groups)
    assert (len(result.history.groups[0]), len(result.history.groups[1])) == (7, 4)
    assert result.history.scores == (None, pytest.approx(0.4 * base + 0.6 * novel))
    record = record_of(settings, "challenge")
    assert record.metrics["score_base_novel"] == pytest.approx(result.history.scores[-1])
    assert "score_base_novel" in result.history.to_markdown()


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_seeds_that_a_worker_would_refuse_are_refused_at_once(seed):
    with pytest.raises(ValueError, match="seed"):
        asked("s3://icss/d/dataset.yaml", "seeds", seed=seed)
