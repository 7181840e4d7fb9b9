"""One more node of a Ray cluster of one machine, as a program: `python another_node.py GCS_ADDRESS`.

As `ray.cluster_utils.Cluster` starts its nodes: `ray start` lets no second one onto a cluster that listens on
loopback only. It says when it runs, and ends when it is killed.
"""

import signal
import sys

from ray._private.node import Node
from ray._private.parameter import RayParams

if __name__ == "__main__":
    _, address = sys.argv
    parameters = RayParams(
        gcs_address=address,
        node_ip_address="127.0.0.1",
        num_cpus=1,
        num_gpus=0,
        object_store_memory=100_000_000,
        min_worker_port=0,
        max_worker_port=0,
        include_log_monitor=False,
        node_manager_port=0,
        dashboard_agent_listen_port=None,
    )
    node = Node(parameters, head=False, shutdown_at_exit=True, spawn_reaper=False)
    sys.stdout.write("it runs\n")
    sys.stdout.flush()
    signal.pause()
