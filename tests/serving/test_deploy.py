"""`serve deploy serve/deployment.yaml` on a cluster that asks for Ray's token: replicas come and go with the load."""

import copy
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
import yaml

from tests.local_cluster import LocalCluster, run_local_cluster
from tests.serving.conftest import KEY, MODEL, ask

ROOT = Path(__file__).parents[2]
DEPLOY_TIMEOUT_S = 240
pytestmark = pytest.mark.slow


@dataclass
class Deployment:
    cluster: LocalCluster
    document: dict
    """The shipped file, with this machine's addresses, model and pace of scaling."""
    url: str

    def deploy(self, **application) -> None:
        """`serve deploy` of the file with changes to its application; returns once that runs."""
        document = copy.deepcopy(self.document)
        document["applications"][0] |= application
        file = self.cluster.folder / "deployment.yaml"
        file.write_text(yaml.safe_dump(document))
        command = [str(Path(sys.executable).with_name("serve")), "deploy", str(file), "-a", self.cluster.address]
        done = subprocess.run(command, cwd=ROOT, env=self.cluster.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        deadline = time.monotonic() + DEPLOY_TIMEOUT_S
        while (found := self._application())["status"] != "RUNNING":
            assert time.monotonic() < deadline and found["status"] != "DEPLOY_FAILED", found["message"]
            time.sleep(0.5)

    def replicas(self) -> set[str]:
        """Ids of the replicas that run."""
        replicas = self._application()["deployments"]["server"]["replicas"]
        return {replica["replica_id"] for replica in replicas if replica["state"] == "RUNNING"}

    def until_replicas(self, count: int, timeout_s: float = 200) -> None:
        deadline = time.monotonic() + timeout_s
        while len(self.replicas()) != count:
            assert time.monotonic() < deadline, f"{self.replicas()} instead of {count}"
            time.sleep(0.5)

    def post(self, body: dict) -> httpx.Response:
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=headers, timeout=60)

    def _application(self) -> dict:
        return self.cluster.get("/api/serve/applications/")["applications"].get("inbol", {"status": "", "message": ""})


@pytest.fixture(scope="module")
def deployment(tmp_path_factory, tiny_llava):
    folder = tmp_path_factory.mktemp("deploy")
    (folder / "keys").write_text(f"{KEY}\n")
    port, stats, metrics = free_ports(3)
    document = yaml.safe_load((ROOT / "serve" / "deployment.yaml").read_text())
    document["proxy_location"] = "HeadOnly"
    document["http_options"] |= {"host": "127.0.0.1", "port": port}
    [application] = document["applications"]
    del application["runtime_env"]  # this machine has the package installed
    application["route_prefix"] = "/aligned"  # as where another application stands beside it
    application["args"] |= {
        "config": str(ROOT / "jobs" / "configs" / "demo.yaml"),
        "serving.api_keys_file": str(folder / "keys"),
        f"serving.models.{MODEL}.method": "null",
        f"serving.models.{MODEL}.path": str(tiny_llava),
        "engine.kv_cache_bytes": 64 << 20,
    }
    scaling = {"min_replicas": 1, "max_replicas": 2, "target_ongoing_requests": 2}
    pace = {"upscale_delay_s": 1, "downscale_delay_s": 4, "look_back_period_s": 2, "metrics_interval_s": 1}
    application["deployments"] = [{"name": "server", "autoscaling_config": scaling | pace}]
    ports = {"RAY_SERVE_HAPROXY_STATS_PORT": str(stats), "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ports.items():
            patch.setitem(os.environ, name, value)
        with run_local_cluster(folder, "--min-workers", "0", "--head-cpus", "6") as cluster:
            deployed = Deployment(cluster, document, f"http://127.0.0.1:{port}/aligned")
            deployed.deploy()
            yield deployed


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def test_it_answers_those_who_have_a_key(deployment):
    assert deployment.post(ask("What?")).status_code == 200
    assert httpx.post(f"{deployment.url}/v1/chat/completions", json=ask("What?")).status_code == 401


def test_the_dial_moves_without_a_restart(deployment):
    before = deployment.replicas()
    server = deployment.document["applications"][0]["deployments"][0]
    deployment.deploy(deployments=[server | {"user_config": {MODEL: {"threshold": 0.75}}}])
    deadline = time.monotonic() + 60
    while deployment.post(ask("What?")).json()["inbol"]["threshold"] != 0.75:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert deployment.replicas() == before


def test_replicas_follow_the_load_and_no_request_is_lost(deployment):
    client = openai.OpenAI(base_url=f"{deployment.url}/v1", api_key=KEY, max_retries=8, timeout=60)
    outcomes: Counter = Counter()
    calm = threading.Event()

    def ask_on() -> None:
        while not calm.is_set():
            try:
                client.chat.completions.create(**ask("What?", max_tokens=150), extra_body={"inbol": {"threshold": 0}})
                outcomes["answered"] += 1
            except openai.APIError as error:
                outcomes[repr(error)] += 1

    askers = [threading.Thread(target=ask_on) for _ in range(10)]
    deployment.until_replicas(1)
    for asker in askers:
        asker.start()
    try:
        deployment.until_replicas(2)
        time.sleep(3)
    finally:
        calm.set()
        for asker in askers:
            asker.join()
    deployment.until_replicas(1)
    print("\nunder load:", dict(outcomes))
    assert outcomes.keys() == {"answered"} and deployment.post(ask("What?")).status_code == 200
