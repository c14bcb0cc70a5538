"""A Ray cluster of several nodes on this machine, to try what a real one does: `make cluster-local`.

Each node is a raylet of its own with two logical CPUs; Ray's autoscaler starts and stops worker nodes as jobs need
them. Dashboard, job server and GCS ask for a token; dashboard and job server listen on 127.0.0.1 only. Stop it with
Ctrl-C.
"""

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import yaml
from local_nodes import ANY_PORTS, NODE_ID_BYTES, RAY

from inbol_ray.runtime.resources import NODE_TYPES_VARIABLE, NodeType
from inbol_ray.store.leases import file_lock, is_locked

ROOT = Path(__file__).resolve().parents[1]
NODE_CPUS = 2
OBJECT_STORE_BYTES = 200_000_000
HEAD_TYPE, WORKER_TYPE = "head", "worker"
START_TIMEOUT_S = 120
JOB_STOP_WAIT_S = 60
"""Ray kills a stopped job after 3 s unless told otherwise; a training needs longer for its checkpoint."""


def autoscaler_config(folder: Path, gcs_address: str, head_node_id: str, options: argparse.Namespace) -> dict:
    """The cluster YAML of `ray start --autoscaling-config`."""
    resources = {"CPU": NODE_CPUS, "object_store_memory": OBJECT_STORE_BYTES}
    return {
        "cluster_name": "inbol-ray-local",
        "max_workers": options.max_workers,
        "idle_timeout_minutes": options.idle_timeout_s / 60,
        "upscaling_speed": 10,
        "provider": {
            "type": "external",
            "module": "local_nodes.LocalNodes",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": gcs_address,
            "head_node_id": head_node_id,
            "head_node_type": HEAD_TYPE,
            "log_dir": str(folder),
        },
        "available_node_types": {
            HEAD_TYPE: {"resources": {"CPU": options.head_cpus}, "node_config": {}, "min_workers": 0, "max_workers": 0},
            WORKER_TYPE: {
                "resources": resources,
                "node_config": {},
                "min_workers": options.min_workers,
                "max_workers": options.max_workers,
            },
        },
        "head_node_type": HEAD_TYPE,
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [],
        "worker_start_ray_commands": [],
    }


def cluster_environment(folder: Path, options: argparse.Namespace) -> dict[str, str]:
    """Variables of the head, which its raylets, its autoscaler's nodes and its jobs inherit."""
    token = folder / "token"
    if not token.exists():
        with os.fdopen(os.open(token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    growth = NodeType(WORKER_TYPE, {"CPU": NODE_CPUS}, options.max_workers)
    # Slow starts of vLLM come from this variable (see the Makefile).
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_JOB_STOP_WAIT_TIME_S": str(JOB_STOP_WAIT_S),
        "RAY_ENABLE_RECORD_ACTOR_TASK_LOGGING": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "2",
        "OMP_NUM_THREADS": "1",
        NODE_TYPES_VARIABLE: json.dumps([vars(growth)]),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # The head's autoscaler imports `local_nodes` from here.
        "PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parent), inherited.get("PYTHONPATH")))),
    }


def wait_for_job_server(address: str, token: str, head: subprocess.Popen, log: Path) -> None:
    """End the program, with the end of the head's log, when the job server does not come up."""
    request = urllib.request.Request(f"{address}/api/version", headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except (urllib.error.URLError, OSError) as error:
            if head.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"error: the cluster did not start ({error}):\n{log.read_text()[-2000:]}") from None
            time.sleep(0.5)


def stop(head: subprocess.Popen, folder: Path) -> None:
    """End the head and every raylet that its autoscaler started; nothing else on the machine."""
    head.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        head.wait(20)
    for group in {head.pid, *_groups_of(folder)}:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _groups_of(folder: Path) -> set[int]:
    """Process groups of processes whose environment has this cluster's token."""
    mark = f"RAY_AUTH_TOKEN_PATH={folder / 'token'}".encode()
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            name = (entry / "cmdline").read_bytes()
            if b"ray" in name and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.add(os.getpgid(int(entry.name)))
    return found - {os.getpgid(0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "cluster", help="token, address and logs")
    parser.add_argument("--port", type=int, default=6390, help="port of the GCS")
    parser.add_argument("--dashboard-port", type=int, default=8265)
    parser.add_argument("--head-cpus", type=int, default=NODE_CPUS, help="logical CPUs of the head")
    parser.add_argument("--min-workers", type=int, default=0)
    parser.add_argument("--max-workers", type=int, default=3)
    parser.add_argument("--idle-timeout-s", type=float, default=60, help="an idle worker node is stopped after this")
    options = parser.parse_args()
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if is_locked(folder / "lock"):
        raise SystemExit(f"error: a cluster with the folder {folder} is running already")
    for option, port in (("--port", options.port), ("--dashboard-port", options.dashboard_port)):
        if is_taken(port):
            raise SystemExit(f"error: port {port} is in use, perhaps by another Ray; choose another with {option}")
    with file_lock(folder / "lock"):
        run(folder, options)


def is_taken(port: int) -> bool:
    """Whether something listens on a port of this machine; Ray would silently take the next one."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def run(folder: Path, options: argparse.Namespace) -> None:
    """Start the cluster, say how to use it, and keep it until the process is told to end."""
    environment = cluster_environment(folder, options)
    head_node_id = secrets.token_hex(NODE_ID_BYTES)
    config = folder / "autoscaling.yaml"
    config.write_text(yaml.safe_dump(autoscaler_config(folder, f"127.0.0.1:{options.port}", head_node_id, options)))
    command = [*RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={options.port}"]
    command += [f"--num-cpus={options.head_cpus}", "--num-gpus=0", *ANY_PORTS]
    command += [f"--object-store-memory={OBJECT_STORE_BYTES}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={options.dashboard_port}", "--disable-usage-stats"]
    command += [f"--ray-client-server-port={options.port + 1}", f"--autoscaling-config={config}"]
    log = folder / "head.log"
    with open(log, "wb") as output:
        head = subprocess.Popen(
            command,
            env=environment | {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": head_node_id},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def end(signum, _frame) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    address = f"http://127.0.0.1:{options.dashboard_port}"
    (folder / "address").write_text(address)
    try:
        wait_for_job_server(address, (folder / "token").read_text(), head, log)
        print(
            f"Cluster is up: a head with {options.head_cpus} logical CPUs, up to {options.max_workers} nodes of {NODE_CPUS} as "
            f"jobs need them.\n"
            f"Dashboard: {address} (asks for the token in {folder / 'token'})\n\n"
            "In another terminal:\n\n"
            f"  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={folder / 'token'} RAY_API_SERVER_ADDRESS={address}\n"
            "  .venv/bin/ray job submit --working-dir . --runtime-env cluster/runtime_env.yaml -- \\\n"
            "      python jobs/confidence.py --config jobs/configs/demo.yaml "
            f"--output_dir {ROOT / 'build' / 'cluster-demo'}\n"
            "  make cluster-demo    # every stage of the demo, a job each\n\n"
            "Ctrl-C stops the cluster.",
            flush=True,
        )
        head.wait()
        raise SystemExit(f"error: the head ended by itself; see {log}")
    finally:
        stop(head, folder)


if __name__ == "__main__":
    main()
