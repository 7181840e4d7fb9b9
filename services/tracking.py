"""Runs of the MLflow server: the record of every pretraining and every update.

Each call names its run; nothing is kept in MLflow's global state, so any number of runs can be written from
one process, and a process that was restarted finds them again by their tags.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from icss_core.errors import InvalidParameterError
from services.errors import TrackingError
from services.mlflow_calls import ALREADY_EXISTS, client_for, is_missing, mlflow_call

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from services.settings import Settings

PRETRAINING: Final = "icss-pretraining"
UPDATES: Final = "icss-updates"
SWEEPS: Final = "icss-sweeps"
PROTOCOLS: Final = "icss-protocols"
MAPS: Final = "icss-maps"
MODELS: Final = "icss-models"

Experiment = Literal[
    "icss-pretraining", "icss-updates", "icss-sweeps", "icss-protocols", "icss-maps", "icss-models"
]
FinalStatus = Literal["FINISHED", "FAILED", "KILLED"]

MAX_TAG: Final = 4000
"""Characters of a tag, at most: every MLflow store takes 5000."""
_PARAM_LENGTH = 500  # longer values are readable only in the artefact
_METRICS_PER_CALL = 1000  # the server's limit
_RUNS_PER_CALL = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What the server holds about one run."""

    run_id: str
    name: str
    status: str
    """MLflow's own: RUNNING, FINISHED, FAILED, KILLED."""
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    """The last value of each."""
    started: datetime
    ended: datetime | None


class Tracking:
    """Creates, writes and finds runs. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._client: MlflowClient = client_for(settings)
        self._pages = settings.mlflow_public_uri or settings.mlflow_uri
        self._prefix = settings.experiment_prefix
        self._experiments: dict[str, str] = {}

    def create_run(self, experiment: Experiment, *, name: str, tags: Mapping[str, str]) -> str:
        """Start a run and return its id. When this returns, the run is on the server's disk.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with mlflow_call(f"create the run {name!r}"):
            experiment_id = self._experiment_id(experiment)
            return str(self._client.create_run(experiment_id, run_name=name, tags=dict(tags)).info.run_id)

    def get(self, run_id: str) -> RunRecord | None:
        """The run, or None if there is none with this id.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with mlflow_call(f"read run {run_id!r}"):
            try:
                return _record(self._client.get_run(run_id))
            except MlflowException as error:
                if is_missing(error):
                    return None
                raise

    def address(self, run_id: str) -> str:
        """Where a person sees the run in a browser.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with mlflow_call(f"read run {run_id!r}"):
            experiment = self._client.get_run(run_id).info.experiment_id
        return f"{self._pages}/#/experiments/{experiment}/runs/{run_id}"

    def answers(self) -> bool:
        """True: the server answers, from its database and to our token.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with mlflow_call("answer"):
            self._client.search_experiments(max_results=1)
        return True

    def find(
        self,
        experiment: Experiment,
        *,
        tags: Mapping[str, str],
        without: Mapping[str, Collection[str]] | None = None,
        limit: int = 1000,
    ) -> list[RunRecord]:
        """The newest runs that carry all these tags, oldest of them first; one search whatever is asked.

        Args:
            experiment: where to look.
            tags: what a run must carry.
            without: what a run must carry with none of these values (MLflow's filters know no "or").
            limit: how many runs at most; of more, the newest.

        Raises:
            InvalidParameterError: a value has both kinds of quotes, for which MLflow's filters have no way.
            TrackingError: the server refused or did not answer.
        """
        terms = [f"tags.`{key}` = {_quoted(value)}" for key, value in tags.items()]
        terms += [
            f"tags.`{key}` != {_quoted(value)}" for key, values in (without or {}).items() for value in values
        ]
        records: list[RunRecord] = []
        with mlflow_call(f"search the runs of {experiment}"):
            experiment_id = self._experiment_id(experiment)
            token: str | None = None
            while limit > len(records):
                page = self._client.search_runs(
                    [experiment_id],
                    filter_string=" and ".join(terms),
                    max_results=min(limit - len(records), _RUNS_PER_CALL),
                    order_by=["attributes.start_time DESC"],
                    page_token=token,
                )
                records += [_record(run) for run in page]
                token = page.token
                if not token:
                    break
        return sorted(records, key=lambda record: record.started)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set or overwrite tags, all in one call.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with mlflow_call(f"tag run {run_id}"):
            self._client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])

    def log_parameters(self, run_id: str, parameters: Mapping[str, Any], *, file: str | None = None) -> None:
        """Log nested parameters: short leaves as params under dotted names, the whole as a JSON artefact.

        Raises:
            TrackingError: the server refused or did not answer, or a param was logged with another value.
        """
        leaves = {key: value for key, value in _leaves(parameters) if len(value) <= _PARAM_LENGTH}
        with mlflow_call(f"log parameters of run {run_id}"):
            items = [Param(key, value) for key, value in leaves.items()]
            for start in range(0, len(items), 100):
                self._client.log_batch(run_id, params=items[start : start + 100])
        self.write_text(run_id, file or "parameters.json", json.dumps(parameters, indent=2, sort_keys=True))

    def write_once(self, run_id: str, key: str, value: str) -> str:
        """Write a param unless the run has it; returns the value that the run has then, the first writer's.

        Of any number of writers in any number of processes exactly one succeeds: run and key are the primary
        key of the server's table, and a second value for it is refused.

        Raises:
            TrackingError: the server did not answer, or the run was deleted before anybody wrote the param.
        """
        with mlflow_call(f"write {key!r} of run {run_id}"):
            try:
                self._client.log_param(run_id, key, value)
            except MlflowException:
                written = self._client.get_run(run_id).data.params
                if key not in written:
                    raise
                return str(written[key])
            return value

    def log_metrics(self, run_id: str, points: Sequence[tuple[int, float, dict[str, float]]]) -> None:
        """Log metrics of many steps: (step, unix time in seconds, {name: value}).

        Raises:
            TrackingError: the server refused or did not answer.
        """
        metrics = [
            Metric(key, float(value), int(seconds * 1000), step)
            for step, seconds, values in points
            for key, value in values.items()
        ]
        with mlflow_call(f"log metrics of run {run_id}"):
            for start in range(0, len(metrics), _METRICS_PER_CALL):
                self._client.log_batch(run_id, metrics=metrics[start : start + _METRICS_PER_CALL])

    def metric_history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """All (step, value) of a metric, by step.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with mlflow_call(f"read metric {key!r} of run {run_id}"):
            history = self._client.get_metric_history(run_id, key)
        return sorted((int(point.step), float(point.value)) for point in history)

    def write_text(self, run_id: str, path: str, text: str) -> None:
        """Write an artefact of the run from text.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        self.write_bytes(run_id, path, text.encode())

    def write_json(self, run_id: str, path: str, content: Any) -> None:
        """Write an artefact of the run as JSON.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        self.write_text(run_id, path, json.dumps(content, indent=2))

    def write_bytes(self, run_id: str, path: str, content: bytes) -> None:
        """Write an artefact of the run (an encoded picture, for example); a path that is there is replaced.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with tempfile.TemporaryDirectory(prefix="icss-artefact-") as folder:
            local = Path(folder) / PurePosixPath(path).name
            local.write_bytes(content)
            self.write_file(run_id, local, str(PurePosixPath(path).parent))

    def write_file(self, run_id: str, local: Path, folder: str = "") -> None:
        """Copy a local file to the artefacts of the run, into `folder`.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with mlflow_call(f"write {local.name!r} to run {run_id}"):
            self._client.log_artifact(run_id, str(local), None if folder in {"", "."} else folder)

    def read_bytes(self, run_id: str, path: str) -> bytes:
        """An artefact of the run.

        Raises:
            TrackingError: there is none, or the server did not answer.
        """
        with (
            tempfile.TemporaryDirectory(prefix="icss-artefact-") as folder,
            mlflow_call(f"read {path!r} of run {run_id}"),
        ):
            return Path(self._client.download_artifacts(run_id, path, folder)).read_bytes()

    def read_json(self, run_id: str, path: str) -> Any:
        """An artefact of the run, decoded from JSON.

        Raises:
            TrackingError: there is none, or the server did not answer.
        """
        return json.loads(self.read_bytes(run_id, path))

    def files(self, run_id: str, folder: str) -> list[str]:
        """Paths of the run's artefacts that lie in a folder; none where there is no folder.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with mlflow_call(f"list {folder!r} of run {run_id}"):
            entries = self._client.list_artifacts(run_id, folder)
            return [str(entry.path) for entry in entries if not entry.is_dir]

    def finish(self, run_id: str, status: FinalStatus) -> None:
        """End the run.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with mlflow_call(f"end run {run_id}"):
            self._client.set_terminated(run_id, status)

    def reopen(self, run_id: str) -> None:
        """Let a run that had ended go on.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with mlflow_call(f"reopen run {run_id}"):
            self._client.update_run(run_id, status="RUNNING")

    def delete_run(self, run_id: str) -> None:
        """Delete the run: it is not found any more, and takes no further values.

        Raises:
            TrackingError: the server refused or did not answer.
        """
        with mlflow_call(f"delete run {run_id}"):
            self._client.delete_run(run_id)

    def _experiment_id(self, name: Experiment) -> str:
        """Id of the experiment, created if it is not there; many may do so at once.

        No lock is held meanwhile: where the server does not answer, each caller waits for its own call only.
        """
        if name not in self._experiments:
            whole = self._prefix + name.removeprefix("icss")
            experiment = self._client.get_experiment_by_name(whole)
            if experiment is None:
                try:
                    self._client.create_experiment(whole)
                except MlflowException as error:
                    if error.error_code != ALREADY_EXISTS:
                        raise
                experiment = self._client.get_experiment_by_name(whole)
            if experiment is None:
                raise TrackingError(f"MLflow created the experiment {whole!r} but does not list it")
            self._experiments[name] = str(experiment.experiment_id)
        return self._experiments[name]


def _record(run: Any) -> RunRecord:
    info, data = run.info, run.data
    return RunRecord(
        run_id=str(info.run_id),
        name=str(info.run_name),
        status=str(info.status),
        tags=dict(data.tags),
        params=dict(data.params),
        metrics=dict(data.metrics),
        started=datetime.fromtimestamp(info.start_time / 1000, UTC),
        ended=None if info.end_time is None else datetime.fromtimestamp(info.end_time / 1000, UTC),
    )


def _quoted(value: str) -> str:
    """A value as a literal of MLflow's filter language, which has two kinds of quotes and no escapes."""
    quote = '"' if "'" in value else "'"
    if quote in value:
        raise InvalidParameterError(f"a tag with both kinds of quotes cannot be searched for: {value!r}")
    return f"{quote}{value}{quote}"


def _leaves(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            leaf
            for key, inner in value.items()
            for leaf in _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    return [(prefix, value if isinstance(value, str) else json.dumps(value))]
