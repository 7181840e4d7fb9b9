"""What a cluster exports to Prometheus: read from where Prometheus reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DISCOVERY: Final = "prom_metrics_service_discovery.json"
"""Ray's file of addresses, in its temporary folder, as Prometheus' `file_sd_configs` wants it."""


@dataclass
class Exported:
    """A metric by the name that queries use, such as `..._bucket`."""

    kind: str
    """counter, gauge, histogram or another type of Prometheus."""
    labels: set[str] = field(default_factory=set)
    """Of any of its series."""


def exported_by(texts: Iterable[str]) -> dict[str, Exported]:
    """Metrics in answers of `/metrics`, by name."""
    metrics: dict[str, Exported] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                metrics.setdefault(sample.name, Exported(family.type)).labels.update(sample.labels)
    return metrics


def scrape(ray_folder: Path) -> dict[str, Exported]:
    """What the cluster with this temporary folder exports now."""
    targets = [one for group in json.loads((ray_folder / DISCOVERY).read_text()) for one in group["targets"]]
    return exported_by(
        httpx.get(f"http://{target}/metrics", timeout=20).raise_for_status().text for target in targets
    )
