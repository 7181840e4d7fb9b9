"""A Ray cluster of several machines, with a store and an MLflow server beside it; machines come and go."""

from __future__ import annotations

import os
import secrets
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import httpx
from living import kill_with_descendants
from pydantic import SecretStr

from services.errors import StackError
from services.local.mlflow_server import start_mlflow, wait_for_mlflow
from services.local.object_store import start_object_store, wait_for_object_store
from services.local.ports import free_ports
from services.local.probe import answers
from services.local.process import ManagedProcess
from services.ray_jobs import job_client
from services.settings import Settings, environment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from machines import Machine, Machines
    from ray.job_submission import JobSubmissionClient

KEYS: Final = {"access_key": "an-access-key", "secret_key": "a-secret-key"}
PORT, DASHBOARD, HTTP = 6379, 8265, 8000
_OURS: Final = ("ICSS_", "RAY_", "MLFLOW_", "AWS_", "RCLONE_", "GDAL_", "CPL_", "VSI_")


class RayNodes:
    """A head without processors, and nodes with one each, so that nothing but drivers runs on the head.

    Args:
        machines: where they run.
        folder: logs, objects, MLflow's database, caches.
        temporary: for Ray; its path must be short.
    """

    settings: Settings
    head: Machine

    def __init__(self, machines: Machines, folder: Path, temporary: Path) -> None:
        self._machines, self._folder, self._temporary = machines, folder, temporary
        self._token = secrets.token_hex(32)
        self._running = ExitStack()
        self._nodes: dict[str, tuple[Machine, ManagedProcess]] = {}
        self.client: JobSubmissionClient

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _start(self) -> None:
        self._running.enter_context(self._machines)
        host = self._machines.host
        s3, mlflow = free_ports(2)
        self.head = self._machines.add()
        token = secrets.token_urlsafe(32)
        self.settings = Settings(
            s3_endpoint=f"http://{host}:{s3}",
            s3_access_key=KEYS["access_key"],
            s3_secret_key=SecretStr(KEYS["secret_key"]),
            data_prefix="s3://icss",
            mlflow_uri=f"http://{host}:{mlflow}",
            mlflow_token=SecretStr(token),
            api_token=SecretStr(secrets.token_urlsafe(32)),
            api_host=self.head.address,
            api_port=HTTP,
            jobs_address=f"http://{self.head.address}:{DASHBOARD}",
            jobs_token=SecretStr(self._token),
            cache_dir=self._folder / "cache",
            lease_seconds=6,
            threads=1,
        )
        common = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        store = self._keep(
            start_object_store(
                self._folder / "s3", port=s3, buckets=("icss", "icss-mlflow"), environment=common,
                log=self._folder / "s3.log", host=host, **KEYS,
            )
        )  # fmt: skip
        server = self._keep(
            start_mlflow(
                self._folder / "mlflow.db", port=mlflow, artefacts="s3://icss-mlflow",
                s3_endpoint=str(self.settings.s3_endpoint), token=token, environment=common,
                log=self._folder / "mlflow.log", host=host, **KEYS,
            )
        )  # fmt: skip
        head = self._ray(
            self.head,
            *("--head", "--port", str(PORT), "--dashboard-host", self.head.address),
            *("--dashboard-port", str(DASHBOARD), "--include-dashboard", "true", "--num-cpus", "0"),
            *("--temp-dir", str(self._temporary)),
        )
        self._keep(head)
        wait_for_object_store(store, port=s3, seconds=60, host=host)
        wait_for_mlflow(server, port=mlflow, seconds=120, host=host)
        address, headers = str(self.settings.jobs_address), {"Authorization": f"Bearer {self._token}"}
        head.wait_until(lambda: answers(f"{address}/api/jobs/", headers=headers, status=200), seconds=120)
        self.client = job_client(address, self._token)

    def environment(self, node: str) -> Mapping[str, str]:
        """Of all processes of a machine; each has a cache of its own, as machines have disks of their own."""
        settings = self.settings.model_copy(update={"cache_dir": self._folder / f"cache-{node}"})
        scripts = str(Path(sys.executable).parent)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        return {
            **inherited,
            "PATH": f"{scripts}{os.pathsep}{inherited.get('PATH', os.defpath)}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "OMP_NUM_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "AWS_EC2_METADATA_DISABLED": "true",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE": "1",
            # a machine that is gone is noticed after 3 s, not after 15
            "RAY_health_check_period_ms": "1000",
            "RAY_health_check_failure_threshold": "3",
            "RAY_health_check_timeout_ms": "1000",
            # the interface by which workers of a training reach each other; a name would lead elsewhere
            **({"GLOO_SOCKET_IFNAME": "eth0"} if self.head.prefix else {}),
            **environment_of(settings),
        }

    def add_node(self) -> str:
        """A new machine with one processor; returns its name once it has joined.

        `ray start` gives up when the head does not answer it within 30 s, as may be on a busy machine; it is
        started once more then, as Kubernetes starts a container again.
        """
        before = len(self.living())
        machine = self._machines.add()
        try:
            process = self._join(machine, before)
        except StackError as error:
            sys.stdout.write(f"{error}\n{self._log_of_head()}\n")
            process = self._join(machine, before)
        self._nodes[machine.name] = (machine, process)
        return machine.name

    def _join(self, machine: Machine, before: int) -> ManagedProcess:
        process = self._ray(machine, "--address", f"{self.head.address}:{PORT}", "--num-cpus", "1")
        self._running.callback(process.stop)
        try:
            process.wait_until(lambda: len(self.living()) > before, seconds=120)
        except StackError:
            process.stop()
            raise
        return process

    def _log_of_head(self) -> str:
        """The end of what the head wrote, to tell why it did not answer; its folder goes with the test."""
        log = self._temporary / "session_latest" / "logs" / "gcs_server.out"
        return f"the head's {log.name} ends:\n" + "\n".join(log.read_text().splitlines()[-60:])

    def lose(self, name: str) -> None:
        """Lose a machine: its network is cut, then all its processes are killed."""
        machine, process = self._nodes.pop(name)
        self._machines.cut_off(machine)
        kill_with_descendants(process.pid)
        process.stop()
        wait_until(lambda: machine.address not in self.living() or machine.prefix == (), seconds=60)
        self._machines.remove(machine)

    def living(self) -> list[str]:
        """Addresses of the nodes that Ray takes for alive, without the head."""
        answer = httpx.get(
            f"{self.settings.jobs_address}/nodes?view=summary",
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=20,
            trust_env=False,
        )
        nodes = answer.raise_for_status().json()["data"]["summary"]
        return [
            str(one.get("ip"))  # a node that has just gone has none
            for one in nodes
            if one["raylet"].get("state") == "ALIVE" and not one["raylet"].get("isHeadNode")
        ]

    @property
    def nodes(self) -> list[str]:
        """Names of the machines, without the head."""
        return list(self._nodes)

    def node_of(self, actor: str) -> str | None:
        """The machine of a living actor with this in its name, or its class's; None where there is none."""
        answer = httpx.get(
            f"{self.settings.jobs_address}/logical/actors",
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=20,
            trust_env=False,
        )
        for one in answer.raise_for_status().json()["data"]["actors"].values():
            called = f"{one.get('actorClass')} {one.get('name')}"
            if actor in called and one.get("state") == "ALIVE":
                address = one["address"]["ipAddress"]
                found = [name for name, (machine, _) in self._nodes.items() if machine.address == address]
                if found:
                    return found[0]
        return None

    def run(self, *command: str) -> str:
        """Submit `python -m COMMAND`; returns the submission."""
        return str(self.client.submit_job(entrypoint=" ".join(["python", "-m", *command])))

    def wait_for(self, submission: str, *, seconds: float) -> str:
        """Wait until a job has ended well; its log."""
        wait_until(
            lambda: str(self.client.get_job_status(submission)) in {"SUCCEEDED", "FAILED", "STOPPED"},
            seconds=seconds,
        )
        log = str(self.client.get_job_logs(submission))
        assert str(self.client.get_job_status(submission)) == "SUCCEEDED", log[-6000:]
        return log

    def _ray(self, machine: Machine, *options: str) -> ManagedProcess:
        command = [
            *machine.prefix,
            *(str(Path(sys.executable).parent / "ray"), "start", "--block", "--disable-usage-stats"),
            *("--log-style", "record", "--log-color", "false", "--node-ip-address", machine.address),
            *("--object-store-memory", "100000000", *options),
        ]
        return ManagedProcess(
            f"Ray on {machine.name}",
            command,
            environment=self.environment(machine.name),
            log=self._folder / f"ray-{machine.name}.log",
            grace_seconds=5.0,
        )

    def _keep(self, process: ManagedProcess) -> ManagedProcess:
        self._running.callback(process.stop)
        return process


def wait_until(condition: Callable[[], bool], *, seconds: float, pause: float = 0.2) -> None:
    """Poll until something holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(pause)
