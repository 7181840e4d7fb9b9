"""The Ray head of one machine: its own ports, folder and token, so that it meets no other cluster."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.local.ports import free_ports
from services.local.probe import answers
from services.local.process import ManagedProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.local.certificate import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class RayAddresses:
    """Where the head listens, and what its clients present: a token, and a certificate to each process."""

    port: int
    dashboard_port: int
    token: str
    certificate: Certificate

    @property
    def cluster(self) -> str:
        """Address for `ray.init`."""
        return f"127.0.0.1:{self.port}"

    @property
    def dashboard(self) -> str:
        """Address for `ray job submit` and for a browser."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    def environment(self) -> dict[str, str]:
        """Variables of every process that starts or uses this cluster."""
        return {
            "RAY_ADDRESS": self.cluster,
            "RAY_API_SERVER_ADDRESS": self.dashboard,
            # explicit: Ray otherwise decides by itself, and writes a token into the home folder
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            # replicas of Ray Serve listen on all addresses, whatever Ray is told, and ask for no token there
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(self.certificate.path),
            "RAY_TLS_SERVER_KEY": str(self.certificate.key),
            "RAY_TLS_CA_CERT": str(self.certificate.path),
            "RAY_USAGE_STATS_ENABLED": "0",
            # as in the Dockerfile, which says why
            "MALLOC_ARENA_MAX": "1",
            # one more process for each group of workers: nobody takes this machine away with notice
            "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
            # Serve looks after its replicas ten times a second otherwise, a twentieth of a processor at rest
            "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.4",
            # Ray's switch for clusters of one machine: on Linux too, it then listens on loopback only
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }


def start_ray(
    temp_folder: Path,
    addresses: RayAddresses,
    *,
    num_cpus: int,
    object_store_bytes: int,
    environment: Mapping[str, str],
    log: Path,
) -> ManagedProcess:
    """Start the head. `temp_folder` must be short: Ray puts sockets under it, whose paths may have 107 bytes.

    Where it lies elsewhere than in the temporary folder, because that has a long path, Ray's processes get
    what it lies in as theirs: Python, too, puts sockets into the temporary folder.

    `num_cpus` is what Ray may hand out, which need not be what the machine has.
    """
    client, agent, agent_grpc, metrics, runtime_env, objects, nodes, autoscaler, dashboard = free_ports(9)
    own = {
        "AUTOSCALER_METRIC_PORT": str(autoscaler),  # fixed ports otherwise, taken if another cluster runs
        "DASHBOARD_METRIC_PORT": str(dashboard),
        "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE": "1",  # a small /dev/shm is no reason not to start
    }
    if temp_folder.parent.parent != Path(tempfile.gettempdir()):
        own["TMPDIR"] = str(temp_folder.parent)
    command = [
        *(str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--disable-usage-stats"),
        *("--log-style", "record", "--log-color", "false"),
        *("--temp-dir", str(temp_folder)),
        *("--node-ip-address", "127.0.0.1", "--port", str(addresses.port)),
        *("--include-dashboard", "true"),
        *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(addresses.dashboard_port)),
        *("--ray-client-server-port", str(client)),
        *("--dashboard-agent-listen-port", str(agent), "--dashboard-agent-grpc-port", str(agent_grpc)),
        *("--metrics-export-port", str(metrics), "--runtime-env-agent-port", str(runtime_env)),
        *("--object-manager-port", str(objects), "--node-manager-port", str(nodes)),
        *("--min-worker-port", "0", "--max-worker-port", "0"),
        *("--num-cpus", str(num_cpus), "--object-store-memory", str(object_store_bytes)),
    ]
    return ManagedProcess(
        "the Ray head",
        command,
        environment={**environment, **addresses.environment(), **own},
        log=log,
        grace_seconds=5.0,
    )


def wait_for_ray(process: ManagedProcess, addresses: RayAddresses, *, seconds: float) -> None:
    """Wait until the head takes jobs.

    Raises:
        StackError: it did not start.
    """
    headers = {"Authorization": f"Bearer {addresses.token}"}
    process.wait_until(
        lambda: "Ray runtime started" in process.log.read_text(errors="replace"), seconds=seconds
    )
    process.wait_until(
        lambda: answers(f"{addresses.dashboard}/api/jobs/", headers=headers, status=200), seconds=seconds
    )
