"""Alerts say what is wrong and what to do, and name only things that exist."""

import re

import pytest
import yaml
from monitoring_files import FOLDER, alerts, dashboards
from typer.testing import CliRunner

from services.cli import app
from services.settings import Settings

ALERTS = alerts()
REPOSITORY = FOLDER.parents[2]
every_alert = pytest.mark.parametrize("alert", ALERTS, ids=[alert["alert"] for alert in ALERTS])
DURATION = re.compile(r"[1-9]\d*[mh]")


@every_alert
def test_alert_is_complete(alert):
    assert alert.keys() == {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Icss[A-Z][A-Za-z]+", alert["alert"])
    assert DURATION.fullmatch(alert["for"]), "one bad value is no reason to wake anybody"
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"].keys() == {"summary", "description"}


@every_alert
def test_alert_says_what_to_do(alert):
    summary, description = alert["annotations"]["summary"], alert["annotations"]["description"]
    assert 20 < len(summary) < 120
    assert not summary.endswith(".")
    assert len(description) > 150
    assert description.endswith(".")
    named = re.findall(r"\b(?:docs/[\w/]+\.md)\b", description)
    assert all((REPOSITORY / name).exists() for name in named)
    titles = {dashboard["title"] for dashboard in dashboards().values()}
    assert set(re.findall(r"`(ICSS: [^`]+)`", description)) <= titles
    known = {one["alert"] for one in ALERTS}
    assert set(re.findall(r"\bIcss[A-Z]\w+", description)) <= known


def test_commands_and_settings_that_are_named_exist():
    texts = " ".join(alert["annotations"]["description"] for alert in ALERTS)
    commands = re.findall(r"`icss ([^`]+)`", texts)
    assert commands
    for command in commands:
        words = [word for word in command.split() if word.islower() and not word.startswith("-")]
        shown = CliRunner(env={"COLUMNS": "250"}).invoke(app, [*words, "--help"])
        assert shown.exit_code == 0, command
        assert all(word in shown.output for word in command.split() if word.startswith("-")), command
    settings = {name.lower() for name in re.findall(r"\bICSS_(\w+)", texts)}
    assert settings
    for setting in settings:
        first, _, second = setting.partition("__")
        assert first in Settings.model_fields
        annotation = Settings.model_fields[first].annotation
        assert not second or second in annotation.model_fields


def test_names_are_unique_and_rules_are_for_the_operator():
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)
    rule = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    assert rule.keys() == {"apiVersion", "kind", "metadata", "spec"}
