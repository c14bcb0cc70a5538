"""Nodes of a simulated cluster: each is a raylet of its own on this machine, started and stopped by Ray's autoscaler.

`cluster/local.py` names this module in its autoscaler configuration. Ray's own fake provider was seen to scale up but
never down (2.60.0).
"""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import RLock

from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.tags import NODE_KIND_HEAD, STATUS_UP_TO_DATE, TAG_RAY_NODE_KIND, TAG_RAY_NODE_STATUS
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE as NODE_TYPE_TAG

RAY = [sys.executable, "-m", "ray.scripts.scripts"]
NODE_ID_BYTES = 28
STOP_TIMEOUT_S = 10
ANY_PORTS = (
    *("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
    *("--dashboard-agent-grpc-port=0", "--runtime-env-agent-port=0", "--metrics-export-port=0"),
)
"""Several raylets on one machine must not ask for the same ports."""


class LocalNodes(NodeProvider):
    """Ray's NodeProvider. A node's id is the Ray node id of its raylet, which it is told at its start.

    Configuration: `gcs_address`, `head_node_id`, `head_node_type` and `log_dir`.
    """

    def __init__(self, provider_config: dict, cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._lock = RLock()
        self._processes: dict[str, subprocess.Popen] = {}
        head_tags = {NODE_TYPE_TAG: provider_config["head_node_type"], TAG_RAY_NODE_KIND: NODE_KIND_HEAD}
        self._head = provider_config["head_node_id"]
        self._tags = {self._head: head_tags | {TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE}}

    def non_terminated_nodes(self, tag_filters: dict) -> list[str]:
        with self._lock:
            for node, process in list(self._processes.items()):
                if process.poll() is not None:  # its raylet was killed
                    self._forget(node)
            return [node for node, tags in self._tags.items() if tag_filters.items() <= tags.items()]

    def is_running(self, node_id: str) -> bool:
        return node_id in self.non_terminated_nodes({})

    def is_terminated(self, node_id: str) -> bool:
        return not self.is_running(node_id)

    def node_tags(self, node_id: str) -> dict:
        with self._lock:
            return dict(self._tags.get(node_id, {}))

    def set_node_tags(self, node_id: str, tags: dict) -> None:
        with self._lock:
            self._tags[node_id] |= tags

    def internal_ip(self, node_id: str) -> str:
        return node_id  # `use_node_id_as_ip`: all nodes have one address

    external_ip = internal_ip

    def create_node_with_resources_and_labels(self, node_config, tags, count, resources, labels) -> None:
        for _ in range(count):
            node = secrets.token_hex(NODE_ID_BYTES)
            command = [*RAY, "start", "--block", f"--address={self.provider_config['gcs_address']}"]
            command += [f"--num-cpus={int(resources.get('CPU', 0))}", f"--num-gpus={int(resources.get('GPU', 0))}"]
            # Nodes that share a folder delete each other's copies of a job's working directory. The path must be short:
            # it is part of the names of sockets.
            command += [f"--temp-dir={_temporary_folder(node)}", *ANY_PORTS]
            command += [f"--object-store-memory={int(resources['object_store_memory'])}"]
            with open(Path(self.provider_config["log_dir"]) / f"node-{node[:8]}.log", "wb") as log:
                process = subprocess.Popen(
                    command,
                    env=os.environ | {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": node},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            with self._lock:
                self._processes[node] = process
                self._tags[node] = dict(tags) | {TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE}

    def terminate_node(self, node_id: str) -> None:
        with self._lock:
            process = self._processes.get(node_id)
            if process is None:
                return
            process.send_signal(signal.SIGTERM)  # `ray start --block` takes its raylet and agents down
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            self._forget(node_id)

    def _forget(self, node_id: str) -> None:
        self._processes.pop(node_id).wait()
        self._tags.pop(node_id)
        shutil.rmtree(_temporary_folder(node_id), ignore_errors=True)

    @staticmethod
    def bootstrap_config(cluster_config: dict) -> dict:
        return cluster_config


def _temporary_folder(node_id: str) -> Path:
    return Path(tempfile.gettempdir()) / f"ray-{node_id[:8]}"
