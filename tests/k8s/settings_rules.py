"""The variables of containers are those that something reads, and all that it needs.

Each rule takes all objects of an installation and gives back what is wrong, in words.
"""

import math
import os
from unittest.mock import patch

from installations import label
from pod_templates import pods
from quantities import number

from services.errors import ConfigurationError
from services.settings import ENV_PREFIX, Limits, Settings, load_mlflow_token, load_settings

OURS = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields if name != "limits"} | {
    f"{ENV_PREFIX}LIMITS__{name.upper()}" for name in Limits.model_fields
}
FOREIGN = {
    # MLflow's client, as services/local/stack.py sets them
    "MLFLOW_HTTP_REQUEST_TIMEOUT",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT",
    # boto3, in MLflow's server, which has its own way to S3, and in ours
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "MLFLOW_S3_ENDPOINT_URL",
    "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE",
    # libpq, for the password of the database
    "PGPASSWORD",
    # the images of PostgreSQL and of Redis
    "POSTGRES_USER",
    "POSTGRES_DB",
    "POSTGRES_PASSWORD",
    "PGDATA",
    "REDIS_PASSWORD",
    # rclone
    "RCLONE_AUTH_KEY",
    # only for the command lines of the same container
    "ARTIFACTS_DESTINATION",
    "ACCESS_KEY",
    "SECRET_KEY",
}


def environment(objects, pod, container):
    """What a container finds in its environment; Secrets are made up."""
    config_maps = {one["metadata"]["name"]: one["data"] for one in objects if one["kind"] == "ConfigMap"}
    variables = {}
    for source in container.get("envFrom", ()):
        variables |= config_maps.get(source["configMapRef"]["name"], {})
    for one in container.get("env", ()):
        source = one.get("valueFrom", {})
        if "secretKeyRef" in source:
            variables[one["name"]] = "made-up-" + 32 * "x"
        elif "resourceFieldRef" in source:
            kind, _, name = source["resourceFieldRef"]["resource"].partition(".")
            variables[one["name"]] = str(math.ceil(number(container["resources"][kind][name])))
        else:
            variables[one["name"]] = one["value"]
    return variables


def _containers(objects):
    for pod in pods(objects):
        for container in pod.containers:
            yield f"{label(pod.owner)} {pod.name} {container['name']}", pod, container


def variables_are_known(objects):
    for where, pod, container in _containers(objects):
        for name in environment(objects, pod, container):
            if name not in OURS | FOREIGN:
                yield f"{where}: nobody reads {name}"
    for one in objects:
        if one["kind"] == "ConfigMap" and "grafana_dashboard" not in one["metadata"].get("labels", {}):
            for name, value in one["data"].items():
                if name not in OURS | FOREIGN:
                    yield f"{label(one)}: nobody reads {name}"
                if not isinstance(value, str):
                    yield f"{label(one)}: {name} must be a string"


def required_settings_are_there(objects):
    """Heads of jobs run them, their workers train, workers of the service serve. The service's head leads."""
    for where, pod, container in _containers(objects):
        runs_ours = pod.is_ray and container is pod.spec["containers"][0] and pod.name != "service-head"
        if not runs_ours:
            continue
        variables = environment(objects, pod, container)
        with patch.dict(os.environ, variables, clear=True):
            try:
                settings = load_settings()
                if pod.name.startswith("service-"):
                    settings.require_api_token()
            except ConfigurationError as error:
                yield f"{where}: {error}"
                continue
        if settings.mlflow_token is None:
            yield f"{where}: MLflow asks for a token"
        if settings.s3_access_key is None:
            yield f"{where}: no keys of the store"
        if "ICSS_THREADS" not in variables:
            yield f"{where}: as many threads as the node has processors"


def mlflow_has_its_token(objects):
    for where, pod, container in _containers(objects):
        if "services.mlflow_gate" in container.get("command", ()):
            with patch.dict(os.environ, environment(objects, pod, container), clear=True):
                try:
                    load_mlflow_token()
                except ConfigurationError as error:
                    yield f"{where}: {error}"


def the_store_of_mlflow_is_another(objects):
    """Requests to the API may name whatever is under the data prefix."""
    data = {key: value for one in objects if one["kind"] == "ConfigMap" for key, value in one["data"].items()}
    if f"{data['ARTIFACTS_DESTINATION']}/".startswith(f"{data['ICSS_DATA_PREFIX'].rstrip('/')}/"):
        yield "MLflow's artefacts lie under the data prefix"


RULES = (
    variables_are_known,
    required_settings_are_there,
    mlflow_has_its_token,
    the_store_of_mlflow_is_another,
)
