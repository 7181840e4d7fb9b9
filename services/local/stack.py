"""The local stack: S3, MLflow and Ray on loopback, started together and stopped together."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import SecretStr

from services.local.certificate import make_certificate
from services.local.mlflow_server import start_mlflow, wait_for_mlflow
from services.local.object_store import start_object_store, wait_for_object_store
from services.local.ports import free_ports
from services.local.ray_folder import ray_folder
from services.local.ray_head import RayAddresses, start_ray, wait_for_ray
from services.settings import Settings, environment_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from services.local.process import ManagedProcess

DATA_BUCKET: Final = "icss"
ARTEFACT_BUCKET: Final = "icss-mlflow"
"""Beside the data bucket, not in it: requests may name data, never artefacts."""

_OURS = ("ICSS_", "RAY_", "MLFLOW_", "AWS_", "RCLONE_", "GDAL_", "CPL_", "VSI_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Ports to use; those left out are chosen among the free ones."""

    s3: int | None = None
    mlflow: int | None = None
    ray: int | None = None
    dashboard: int | None = None
    api: int | None = None


class LocalStack:
    """Starts all services in a folder, and stops them whatever happens.

    Use as a context manager. The data (objects, MLflow's database, logs) stay in the folder, so a stack
    started on it again continues with them; keys and tokens are made anew at each start. All processes end
    when the block is left, by an exception, Ctrl-C or SIGTERM too, and even when this process is killed:
    each part watches a pipe to it (see `supervisor`).

    Args:
        folder: where everything is kept; created if it is not there.
        num_cpus: CPUs that Ray hands out; by default at least 4, so that the parts of a demo fit side by
            side on a small machine.
        object_store_bytes: Ray's shared memory.
        ports: see `Ports`.
        ray_token: token of the Ray cluster, if it has to be a known one.
        mlflow_token: the same for MLflow.
        start_seconds: how long each part may take to answer.
        on_progress: told in one line what has started.

    Raises:
        StackError: a part did not start; those that had are stopped again.
    """

    settings: Settings
    ray: RayAddresses

    def __init__(
        self,
        folder: Path,
        *,
        num_cpus: int | None = None,
        object_store_bytes: int = 500_000_000,
        ports: Ports | None = None,
        ray_token: str | None = None,
        mlflow_token: str | None = None,
        start_seconds: float = 120.0,
        on_progress: Callable[[str], None] | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.logs = self.folder / "logs"
        self._num_cpus = num_cpus or max(4, os.cpu_count() or 1)
        self._object_store_bytes = object_store_bytes
        self._ports = ports or Ports()
        self._ray_token = ray_token or secrets.token_hex(32)
        self._mlflow_token = mlflow_token or secrets.token_urlsafe(32)
        self._start_seconds = start_seconds
        self._tell = on_progress or (lambda _: None)
        self._running = ExitStack()
        self._processes: list[ManagedProcess] = []

    @property
    def addresses(self) -> dict[str, str]:
        """What a person may want to open or connect to, by name."""
        return {
            "S3": self.settings.s3_endpoint or "",
            "MLflow": self.settings.mlflow_uri,
            "Ray dashboard": self.ray.dashboard,
            "Ray": self.ray.cluster,
            "API": f"http://{self.settings.api_host}:{self.settings.api_port}",
        }

    @property
    def processes(self) -> tuple[ManagedProcess, ...]:
        """The parts, in the order in which they were started."""
        return tuple(self._processes)

    def environment(self) -> dict[str, str]:
        """The whole environment for a child process that uses this stack: settings, Ray, MLflow's client.

        Variables of the same systems that this process may carry from elsewhere are left out.
        """
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        scripts = str(Path(sys.executable).parent)
        return {
            **inherited,
            "PATH": f"{scripts}{os.pathsep}{inherited.get('PATH', os.defpath)}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
            "AWS_EC2_METADATA_DISABLED": "true",
            **environment_of(self.settings),
            **self.ray.environment(),
        }

    def start(self) -> Self:
        """Start all parts at once and wait until each answers.

        Raises:
            StackError: a part did not start; the others are stopped.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop all parts, the last started first. Stopping twice is no error."""
        self._running.close()
        self._processes.clear()

    def __enter__(self) -> Self:
        self._running.callback(_terminate_politely())
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        chosen, free = self._ports, free_ports(5)
        s3_port, mlflow_port, ray_port, dashboard_port, api_port = (
            wanted or port
            for wanted, port in zip(
                (chosen.s3, chosen.mlflow, chosen.ray, chosen.dashboard, chosen.api), free, strict=True
            )
        )
        self.settings = Settings(
            s3_endpoint=f"http://127.0.0.1:{s3_port}",
            s3_access_key=secrets.token_hex(10),
            s3_secret_key=SecretStr(secrets.token_hex(20)),
            data_prefix=f"s3://{DATA_BUCKET}",
            mlflow_uri=f"http://127.0.0.1:{mlflow_port}",
            mlflow_token=SecretStr(self._mlflow_token),
            api_token=SecretStr(secrets.token_urlsafe(32)),
            api_port=api_port,
            jobs_address=f"http://127.0.0.1:{dashboard_port}",
            jobs_token=SecretStr(self._ray_token),
            cache_dir=self.folder / "cache",
        )
        temporary = self._running.enter_context(ray_folder())
        self._running.callback(_keep_logs, temporary / "ray", self.logs / "ray")
        self.ray = RayAddresses(
            port=ray_port,
            dashboard_port=dashboard_port,
            token=self._ray_token,
            certificate=make_certificate(temporary),
        )
        environment = self.environment()
        bare = {key: value for key, value in environment.items() if not key.startswith(("ICSS_", "RAY_"))}
        keys = {
            "access_key": str(self.settings.s3_access_key),
            "secret_key": environment["ICSS_S3_SECRET_KEY"],
        }

        began = time.monotonic()
        store = self._keep(
            start_object_store(
                self.folder / "s3",
                port=s3_port,
                buckets=(DATA_BUCKET, ARTEFACT_BUCKET),
                environment=bare,
                log=self.logs / "s3.log",
                **keys,
            )
        )
        mlflow = self._keep(
            start_mlflow(
                self.folder / "mlflow.db",
                port=mlflow_port,
                artefacts=f"s3://{ARTEFACT_BUCKET}",
                s3_endpoint=f"http://127.0.0.1:{s3_port}",
                token=self._mlflow_token,
                environment=bare,
                log=self.logs / "mlflow.log",
                **keys,
            )
        )
        ray = self._keep(
            start_ray(
                temporary / "ray",
                self.ray,
                num_cpus=self._num_cpus,
                object_store_bytes=self._object_store_bytes,
                environment=environment,
                log=self.logs / "ray.log",
            )
        )
        wait_for_object_store(store, port=s3_port, seconds=self._start_seconds)
        self._tell(f"S3 answers at {self.settings.s3_endpoint} ({time.monotonic() - began:.1f} s)")
        wait_for_ray(ray, self.ray, seconds=self._start_seconds)
        self._tell(f"Ray answers at {self.ray.dashboard} ({time.monotonic() - began:.1f} s)")
        wait_for_mlflow(mlflow, port=mlflow_port, seconds=self._start_seconds)
        self._tell(f"MLflow answers at {self.settings.mlflow_uri} ({time.monotonic() - began:.1f} s)")

    def _keep(self, process: ManagedProcess) -> ManagedProcess:
        self._processes.append(process)
        self._running.callback(process.stop)
        return process


def _keep_logs(temporary: Path, kept: Path) -> None:
    """Copy what replicas and jobs said, which Ray keeps in its own folder, before that is removed."""
    logs = temporary / "session_latest" / "logs"
    for source in (*logs.glob("serve/*.log"), *logs.glob("job-driver-*.log"), *logs.glob("worker-*.err")):
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, kept / source.name)


def _terminate_politely() -> Callable[[], Any]:
    """Let SIGTERM leave the block as Ctrl-C does; returns what undoes it. Only the main thread may do so."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return lambda: None

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    return lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL)
