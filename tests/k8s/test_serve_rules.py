"""A file of Ray Serve that would not start, or start and regret it, is noticed."""

import pytest
import yaml
from installations import INSTALLATIONS, find, installation
from serve_rules import RULES

from services.errors import ConfigurationError

# Ray 2.60's own schema still uses pydantic 1's way to annotate fields (ray/serve/schema.py)
pytestmark = pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")

APPLICATION = "applications 0"
API, UPDATER, PREDICTOR = (f"{APPLICATION} deployments {number}" for number in range(3))
BROKEN = [
    ("ray_takes_the_file", "gpu", f"{APPLICATION} import_path", 5, "import_path"),
    ("ray_takes_the_file", "gpu", "proxy_location", "Everywhere", "proxy_location"),
    ("ray_takes_the_file", "gpu", "http_option", {}, "nobody reads http_option"),
    ("ray_takes_the_file", "gpu", f"{PREDICTOR} max_ongoing", 5, "nobody reads max_ongoing"),
    (
        "ray_takes_the_file",
        "gpu",
        f"{PREDICTOR} autoscaling_config max_replica",
        5,
        "nobody reads max_replica",
    ),
    ("ray_takes_the_file", "gpu", f"{PREDICTOR} autoscaling_config max_replicas", 0, "max_replicas"),
    ("ray_takes_the_file", "gpu", f"{PREDICTOR} ray_actor_options num_gpu", 1, "nobody reads num_gpu"),
    ("ray_takes_the_file", "gpu", f"{APPLICATION} name", "app", "is called icss"),
    (
        "the_application_is_built",
        "gpu",
        f"{APPLICATION} import_path",
        "services.serving.deploy:build",
        "build",
    ),
    (
        "the_application_is_built",
        "gpu",
        f"{APPLICATION} args",
        {"predictor_replica": "2"},
        "predictor_replica",
    ),
    ("the_application_is_built", "gpu", f"{PREDICTOR} name", "predictors", "no deployment predictors"),
    (
        "replicas_are_there_before_the_first_request",
        "gpu",
        f"{PREDICTOR} autoscaling_config min_replicas",
        0,
        "must be 1",
    ),
    ("replicas_are_there_before_the_first_request", "gpu", f"{PREDICTOR} num_replicas", 1, "must be auto"),
    (
        "replicas_are_there_before_the_first_request",
        "gpu",
        f"{PREDICTOR} autoscaling_config target_ongoing_requests",
        99,
        "before it refuses",
    ),
    (
        "replicas_are_there_before_the_first_request",
        "gpu",
        f"{PREDICTOR} graceful_shutdown_timeout_s",
        10,
        "stopped while it works",
    ),
    (
        "replicas_are_there_before_the_first_request",
        "gpu",
        f"{UPDATER} num_replicas",
        2,
        "the updater is one",
    ),
    ("requests_reach_the_proxy", "gpu", "http_options host", "127.0.0.1", "where no Service"),
    ("requests_reach_the_proxy", "gpu", "http_options port", 8001, "the port serve is not Serve's"),
    ("requests_reach_the_proxy", "gpu", "proxy_location", "HeadOnly", "never ready"),
    ("replicas_have_room", "gpu", f"{PREDICTOR} autoscaling_config max_replicas", 8, "no room"),
    ("replicas_have_room", "gpu", f"{UPDATER} ray_actor_options num_gpus", 2, "no room for every updater"),
    ("replicas_have_room", "ha", f"{API} num_replicas", 12, "no room for every api"),
    ("a_second_node_serves", "ha", f"{API} num_replicas", 1, "two of api"),
    ("a_second_node_serves", "ha", f"{PREDICTOR} max_replicas_per_node", 2, "two of predictor"),
]


@pytest.mark.parametrize("name", INSTALLATIONS)
def test_every_installation_keeps_the_rules(name):
    objects = installation(name)
    assert {rule.__name__: found for rule in RULES if (found := list(rule(objects)))} == {}


@pytest.mark.parametrize(
    ("rule", "name", "path", "value", "message"),
    BROKEN,
    ids=[f"{one[0]}-{number}" for number, one in enumerate(BROKEN)],
)
def test_a_broken_file_is_noticed(rule, name, path, value, message):
    objects = installation(name)
    spec = find(objects, "RayService", "icss")["spec"]
    config = yaml.safe_load(spec["serveConfigV2"])
    node = config
    *above, last = [int(part) if part.isdigit() else part for part in path.split()]
    for part in above:
        node = node[part]
    node[last] = value
    spec["serveConfigV2"] = yaml.safe_dump(config)
    (chosen,) = [one for one in RULES if one.__name__ == rule]
    found = list(chosen(objects))
    assert any(message in one for one in found), found


def test_every_rule_is_proven():
    assert {rule for rule, *_ in BROKEN} == {rule.__name__ for rule in RULES}


@pytest.mark.parametrize(
    "arguments", [{"predictor_replica": "2"}, {"predictor_replicas": "many"}, {"predictor_replicas": "0"}]
)
def test_wrong_arguments_of_the_application_are_named(arguments):
    from services.serving.deployments import build

    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        build(arguments)
