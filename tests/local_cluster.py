"""`cluster/local.py` as a test's own cluster: submit jobs, watch them, and kill what a real cluster loses."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
NODE_VARIABLE = "RAY_OVERRIDE_NODE_ID_FOR_TESTING"
START_TIMEOUT_S = 120


@dataclass(frozen=True)
class LocalCluster:
    """A running local cluster."""

    folder: Path
    address: str

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs."""
        token = str(self.folder / "token")
        return os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": token,
            "RAY_API_SERVER_ADDRESS": self.address,
        }

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.folder / 'token').read_text()}"}

    def ray(self, *arguments: str) -> subprocess.CompletedProcess:
        """The command `ray`, as a user types it."""
        command = [str(Path(sys.executable).with_name("ray")), *arguments]
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=120)

    def submit(self, name: str, job: str, *options: str) -> None:
        """`ray job submit` without waiting for the job's end."""
        self.submit_command(name, "python", f"jobs/{job}.py", *options)

    def submit_command(self, name: str, *entrypoint: str) -> None:
        shipped = ["--working-dir", ".", "--runtime-env", "cluster/runtime_env.yaml"]
        command = ["job", "submit", "--no-wait", "--submission-id", name, *shipped]
        done = self.ray(*command, "--", *entrypoint)
        assert done.returncode == 0, done.stdout + done.stderr

    def get(self, path: str) -> dict | list:
        """JSON of the dashboard's API."""
        request = urllib.request.Request(self.address + path, headers=self._headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def job(self, name: str) -> dict:
        return self.get(f"/api/jobs/{name}")

    def logs(self, name: str) -> str:
        return self.get(f"/api/jobs/{name}/logs")["logs"]

    def metrics(self, metric: str, **labels: str) -> list[str]:
        """Lines of a metric with these labels, from every address that Prometheus would be told."""
        found = []
        for target in {target for entry in self.get("/api/prometheus/sd") for target in entry["targets"]}:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as page:
                found += page.read().decode().splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return [line for line in found if line.startswith(f"{metric}{{") and all(text in line for text in wanted)]

    def log_file(self, name: str) -> str:
        """A log file of the head, as the dashboard's log page shows it."""
        nodes = self.get("/api/v0/nodes")["data"]["result"]["result"]
        [head] = [node["node_id"] for node in nodes if node["is_head_node"]]
        path = f"/api/v0/logs/file?node_id={head}&filename={name}&lines=-1&format=text"
        request = urllib.request.Request(self.address + path, headers=self._headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read().decode()

    def wait(self, name: str, timeout_s: float = 400) -> dict:
        """The job's record once it has ended."""
        self.until(lambda: self.job(name)["status"] in ("SUCCEEDED", "FAILED", "STOPPED"), timeout_s, name)
        return self.job(name)

    def until(self, condition: Callable[[], object], timeout_s: float, name: str | None = None) -> None:
        """Wait for a condition; fail with the job's log when it does not come true."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            logs = self.logs(name)[-3000:] if name and time.monotonic() > deadline else ""
            assert time.monotonic() < deadline, f"not within {timeout_s} s\n{logs}"
            time.sleep(0.2)

    def worker_nodes(self) -> set[str]:
        """Ids of the worker nodes whose raylet is alive on this machine."""
        return {
            node for _, command, node in self._processes() if "/raylet/raylet" in command and "--head" not in command
        }

    def nodes_running(self, name: str) -> set[str]:
        """Ids of the nodes with a process whose title starts with `ray::NAME`."""
        return {node for _, command, node in self._processes() if command.startswith(f"ray::{name}")}

    def kill_node(self, node: str) -> None:
        """SIGKILL every process of a node at once, as a machine that vanishes does."""
        for pid, _, of_node in self._processes():
            if of_node == node:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def kill_driver(self, name: str) -> None:
        """SIGKILL the process that a submitted job is."""
        os.kill(int(self.job(name)["driver_info"]["pid"]), signal.SIGKILL)

    def _processes(self) -> list[tuple[int, str, str]]:
        """(pid, command line, node id) of this cluster's processes."""
        mark = f"RAY_AUTH_TOKEN_PATH={self.folder / 'token'}"
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                if mark in environment:
                    node = next((text.partition("=")[2] for text in environment if text.startswith(NODE_VARIABLE)), "")
                    found.append((int(entry.name), (entry / "cmdline").read_text().replace("\0", " "), node))
        return found


@contextlib.contextmanager
def run_local_cluster(folder: Path, *options: str) -> Iterator[LocalCluster]:
    """Start a cluster on free ports; stop it at the end."""
    gcs, dashboard = _free_ports()
    command = [sys.executable, "cluster/local.py", "--folder", str(folder), "--port", str(gcs)]
    command += ["--dashboard-port", str(dashboard), *options]
    with open(folder / "local.log", "w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    cluster = LocalCluster(folder, f"http://127.0.0.1:{dashboard}")
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while "Cluster is up" not in (folder / "local.log").read_text():
            assert process.poll() is None and time.monotonic() < deadline, (folder / "local.log").read_text()
            time.sleep(0.2)
        yield cluster
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _free_ports() -> tuple[int, int]:
    """A port whose successor is free too (Ray's client server takes it), and another; free a moment ago."""
    while True:
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            try:
                sockets[0].bind(("127.0.0.1", 0))
                first = sockets[0].getsockname()[1]
                sockets[1].bind(("127.0.0.1", first + 1))
                sockets[2].bind(("127.0.0.1", 0))
            except (OSError, OverflowError):
                continue
            return first, sockets[2].getsockname()[1]
