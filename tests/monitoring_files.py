"""The dashboards and alert rules that are deployed, as data, and every query in them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from promql import Query, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER: Final = Path(__file__).resolve().parents[1] / "k8s" / "components" / "dashboards"
FROM_PROMETHEUS: Final = {"namespace", "pod", "instance", "job"}
"""Labels that Prometheus gives each series that it scrapes in a cluster."""
LEGEND_LABEL: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
ALERT_LABEL: Final = re.compile(r"\$labels\.(\w+)")
LABEL_VALUES: Final = re.compile(r"label_values\((\w+), (\w+)\)")


def dashboards() -> dict[str, dict[str, Any]]:
    """All dashboards by the name of their file."""
    return {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels with queries; rows are headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    """All alert rules."""
    rule = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    return [one for group in rule["spec"]["groups"] for one in group["rules"]]


def queries() -> Iterator[tuple[str, Query]]:
    """Every query that is asked, with where it is, after its legend's or its texts' labels were asked for.

    Raises:
        PromqlError: a query is none, or a legend names a label that its result does not have.
    """
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                match = LABEL_VALUES.fullmatch(variable["query"]["query"])
                assert match, variable
                yield f"{name}: variable {variable['name']}", _asking(match[1], {match[2]})
        for panel in panels(dashboard):
            for target in panel["targets"]:
                labels = set(LEGEND_LABEL.findall(target["legendFormat"]))
                yield f"{name}: {panel['title']}", _asking(target["expr"], labels)
    for alert in alerts():
        texts = " ".join(alert["annotations"].values())
        labels = set(ALERT_LABEL.findall(texts))
        yield f"alert {alert['alert']}", _asking(alert["expr"], labels)


def _asking(expression: str, labels: set[str]) -> Query:
    query = parse(expression)
    for label in labels:
        query.need(label)
    return query
