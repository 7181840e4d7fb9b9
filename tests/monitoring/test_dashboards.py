"""The dashboards are what Grafana takes, and what somebody understands who sees them for the first time."""

import itertools
import re

import pytest
import yaml
from monitoring_files import FOLDER, dashboards, panels, queries

DASHBOARDS = dashboards()
every_dashboard = pytest.mark.parametrize("dashboard", DASHBOARDS.values(), ids=DASHBOARDS)


def cells(panel):
    """The unit squares that a panel covers."""
    place = panel["gridPos"]
    rows = range(place["y"], place["y"] + place["h"])
    return {*itertools.product(range(place["x"], place["x"] + place["w"]), rows)}


@every_dashboard
def test_panels_have_numbers_of_their_own_and_do_not_overlap(dashboard):
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    covered = [cells(panel) for panel in dashboard["panels"]]
    assert all(covered)
    assert sum(map(len, covered)) == len(set().union(*covered))
    assert all(0 <= column < 24 for column, _ in set().union(*covered)), "Grafana's grid has 24 columns"


@every_dashboard
def test_data_source_and_namespace_are_chosen_in_the_dashboard(dashboard):
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables.keys() == {"datasource", "namespace"}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert variables["namespace"]["datasource"] == chosen
    for panel in panels(dashboard):
        assert panel["datasource"] == chosen
        for target in panel["targets"]:
            assert target["datasource"] == chosen
            selectors = re.findall(r"ray_\w+(\{)?", target["expr"])
            assert selectors
            assert len(selectors) == target["expr"].count('namespace=~"$namespace"'), panel["title"]


@every_dashboard
def test_panels_say_what_they_show_and_in_what_unit(dashboard):
    assert len(dashboard["description"]) > 20
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert len(set(titles)) == len(titles)
    for panel in panels(dashboard):
        assert 3 < len(panel["title"]) < 50
        assert panel["description"].endswith("."), panel["title"]
        assert len(panel["description"]) > 20
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters) > 0
        assert all(target["legendFormat"] for target in panel["targets"]) or panel["type"] == "stat"


def test_dashboards_have_addresses_of_their_own_that_stay():
    addresses = {name: dashboard["uid"] for name, dashboard in DASHBOARDS.items()}
    assert addresses == {name: f"icss-{name.removesuffix('.json')}" for name in DASHBOARDS}
    assert len({dashboard["title"] for dashboard in DASHBOARDS.values()}) == len(DASHBOARDS)
    assert all("icss" in dashboard["tags"] for dashboard in DASHBOARDS.values())


def test_every_file_is_deployed():
    component = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert component["kind"] == "Component"
    (generator,) = component["configMapGenerator"]
    assert generator["options"]["labels"] == {"grafana_dashboard": "1"}
    assert {one.partition("=")[2] for one in generator["files"]} == set(DASHBOARDS)
    assert component["resources"] == ["alerts.yaml"]


def test_every_query_can_be_read():
    asked = [query for _, query in queries()]
    assert len(asked) > 40
    assert all(query.selectors for query in asked)
