"""Every metric and label that a dashboard or an alert asks for is exported by the services as they run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
import pytest
from exposition import Exported, scrape
from jobs import in_cluster
from monitoring_files import FROM_PROMETHEUS, queries
from promql import parse
from ray.dashboard.modules.reporter.reporter_agent import METRICS_GAUGES
from tiny_model import write_scene, write_tiny_model

from services.mapping.job import run_maps
from services.mapping.request import MapRequest
from services.registry import Registry
from services.storage import Storage
from services.tracking import PRETRAINING, Tracking

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from promql import Selector

    from services.demo.report import DemoReport
    from services.local import LocalStack
    from services.settings import Settings

pytestmark = pytest.mark.e2e

WITH_A_GPU = {
    "ray_node_gpus_utilization",
    "ray_node_gram_used",
    "ray_node_gram_available",
    "ray_node_gpu_power_milliwatts",
    "ray_component_gpu_memory_mb",
}
"""Exported on nodes with a GPU only; Ray's own table of its metrics says what they are called there."""
SECONDS = 60.0


def map_two_images(request: MapRequest, settings: Settings) -> None:
    """A mapping job of which one image fails; its process stays until Ray has passed its metrics on."""
    run_maps(request, settings)
    time.sleep(12)


def map_a_region(stack: LocalStack, job_process: Executor, folder: Path) -> None:
    """What `test_mapping.py` does, for a session without it."""
    settings, model = stack.settings, "monitored"
    storage, registry = Storage(settings), Registry(settings)
    run = Tracking(settings).create_run(PRETRAINING, name=model, tags={})
    version = registry.register(model, write_tiny_model(folder / "model"), run_id=run)
    base = f"{settings.data_prefix}/e2e-monitored"
    storage.upload(write_scene(folder / "a.tif"), f"{base}/in/a.tif")
    storage.write_bytes(f"{base}/in/broken.tif", b"II*\0 but nothing behind it")
    request = MapRequest(model=model, version=version, images=(f"{base}/in/",), out=f"{base}/out")
    job_process.submit(in_cluster, map_two_images, request, settings).result()


@pytest.fixture(scope="module")
def exported(
    stack: LocalStack,
    demo_report: DemoReport,
    job_process: Executor,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Exported]:
    """What is exported after the demo has trained networks, made an update and mapped images, and a region.

    Processes pass their metrics on every ten seconds, so it is read until nothing is missing, or that has
    lasted long enough.
    """
    del demo_report
    httpx.get(f"{stack.addresses['API']}/readyz", timeout=20).raise_for_status()
    folder = stack.ray.certificate.path.parent / "ray"
    if "ray_icss_map_scenes_total" not in scrape(folder):
        map_a_region(stack, job_process, tmp_path_factory.mktemp("monitored"))
    deadline = time.monotonic() + SECONDS
    while True:
        found = scrape(folder)
        if not missing(found) or time.monotonic() > deadline:
            return found
        time.sleep(2)


def missing(exported: dict[str, Exported]) -> list[str]:
    """What queries ask for in vain."""
    faults = []
    for where, query in queries():
        for selector in query.selectors:
            faults += [f"{where}: {fault}" for fault in faults_of(selector, exported)]
    return faults


def faults_of(selector: Selector, exported: dict[str, Exported]) -> list[str]:
    metric = exported.get(selector.metric) or of_a_gpu(selector.metric)
    if metric is None:
        return [f"{selector.metric} is not exported"]
    unknown = sorted(selector.labels - metric.labels - FROM_PROMETHEUS)
    faults = [f"{selector.metric} has no label {unknown}, but {sorted(metric.labels)}"] if unknown else []
    if selector.counted and metric.kind not in {"counter", "histogram"}:
        faults.append(f"{selector.metric} is a {metric.kind}, no counter")
    return faults


def of_a_gpu(name: str) -> Exported | None:
    """What Ray's source says of a metric that is exported with a GPU only."""
    if name not in WITH_A_GPU:
        return None
    gauge = METRICS_GAUGES[name.removeprefix("ray_")]
    return Exported("gauge", set(map(str, gauge.view.columns)))


def test_every_query_names_metrics_and_labels_that_are_exported(exported: dict[str, Exported]) -> None:
    assert missing(exported) == []


def test_what_is_not_there_would_be_noticed(exported: dict[str, Exported]) -> None:
    for text, fault in (
        ("ray_icss_updates", "ray_icss_updates is not exported"),  # a counter's name in the code
        ('ray_icss_updates_total{state="failed"}', "no label ['state']"),
        ("rate(ray_icss_updates_waiting[5m])", "is a gauge, no counter"),
        ("sum by (Gpu) (ray_node_gpus_utilization)", "no label ['Gpu']"),
    ):
        (selector,) = parse(text).selectors
        (found,) = faults_of(selector, exported)
        assert fault in found


def test_metrics_that_need_a_gpu_are_really_asked_for() -> None:
    asked = {selector.metric for _, query in queries() for selector in query.selectors}
    assert asked >= WITH_A_GPU
