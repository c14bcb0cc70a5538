"""Artifacts on a real S3 server: published whole, computed once by two jobs at a time, safe when computed twice."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from plain_stages import plain_stage

from inbol_ray.errors import MissingInputError
from inbol_ray.runtime.compute import compute
from inbol_ray.runtime.stage import Stage
from inbol_ray.store.artifacts import MANIFEST, Store
from inbol_ray.store.leases import object_lease, put_once
from inbol_ray.store.local_copies import CACHE_VARIABLE, local_copy, written_to
from inbol_ray.store.storage import open_s3_client, reference_to

HERE = "tests_stages_on_s3"
FUNCTIONS = """
import time
from pathlib import Path
from inbol_ray.store.local_copies import written_to
calls = []
def write(context):
    calls.append(1)
    (context.folder / 'data.txt').write_text('from the driver')
    with written_to(f'{context.uri}/model') as folder:
        (folder / 'weights.txt').write_text('from a worker')
    return {'rows': 2}
def slow(context):
    calls.append(1)
    time.sleep(1.5)
    (context.folder / 'data.txt').write_text(str(len(calls)))
def read(context):
    text = (context.inputs['data'] / 'data.txt').read_text()
    (context.folder / 'copy.txt').write_text(text + ' read')
def fail(context):
    (context.folder / 'half.txt').write_text('x'); raise RuntimeError('boom')
"""
RUN = """
import sys
from plain_stages import plain_stage
from inbol_ray.runtime.compute import compute
from inbol_ray.store.artifacts import Store
from inbol_ray.config.machines import StorageConfig
uri, endpoint, log = sys.argv[1:]
import tests_stages_on_s3 as functions
store = Store(uri, StorageConfig(endpoint_url=endpoint, region='us-east-1'))
compute(plain_stage('slow', 'tests_stages_on_s3:slow'), store)
open(log, 'w').write(str(len(functions.calls)))
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    (tmp_path / f"{HERE}.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    import importlib

    yield importlib.import_module(HERE)
    del sys.modules[HERE]


@pytest.fixture
def store(s3_bucket, functions):
    return Store(f"{s3_bucket.uri}/run/artifacts", s3_bucket.storage)


def stage(function: str, **inputs) -> Stage:
    return plain_stage(function, f"{HERE}:{function}", **inputs)


def keys(s3_bucket, prefix: str) -> set[str]:
    listed = s3_bucket.server.client().list_objects_v2(Bucket=s3_bucket.name, Prefix=prefix)
    return {entry["Key"].removeprefix(prefix) for entry in listed.get("Contents", ()) if not entry["Key"].endswith("/")}


@pytest.fixture(autouse=True)
def job_storage_of_the_bucket(request, monkeypatch):
    from inbol_ray.store.local_copies import STORAGE_VARIABLE

    bucket = request.getfixturevalue("s3_bucket")
    monkeypatch.setenv(STORAGE_VARIABLE, bucket.storage.model_dump_json())


def test_stages_read_what_others_wrote_through_the_store(store, functions):
    first = compute(stage("write"), store)
    again = compute(stage("write"), store)
    assert first == again and len(functions.calls) == 1 and first["counts"] == {"rows": 2}
    assert first["bytes"] == len("from the driver") + len("from a worker")
    compute(stage("read", data=stage("write")), store)
    assert (store.folder(stage("read", data=stage("write"))) / "copy.txt").read_text() == "from the driver read"
    model = local_copy(f"{store.uri(stage('write'))}/model")
    assert os.listdir(model) == ["weights.txt"]


def test_an_unfinished_artifact_cannot_be_read(store, s3_bucket):
    with pytest.raises(RuntimeError, match="boom"):
        compute(stage("fail"), store)
    assert store.manifest(stage("fail")) is None
    assert keys(s3_bucket, f"run/artifacts/{stage('fail').artifact_id}/") == set()
    with pytest.raises(MissingInputError, match="has not been computed"):
        compute(stage("read", data=stage("fail")), store)
    with pytest.raises(MissingInputError, match="nothing is stored"):
        local_copy(f"{store.root}/{stage('fail').artifact_id}")


def test_two_jobs_at_once_compute_an_artifact_once(store, s3_bucket, tmp_path):
    command = [sys.executable, "-c", RUN, store.root, s3_bucket.server.endpoint_url]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}:{Path(__file__).parents[2]}"}
    jobs = [subprocess.Popen([*command, str(tmp_path / f"log{n}")], env=environment) for n in range(2)]
    assert [job.wait(timeout=60) for job in jobs] == [0, 0]
    assert sorted((tmp_path / f"log{n}").read_text() for n in range(2)) == ["0", "1"]
    assert len(store.attempts(stage("slow").artifact_id)) == 1


def test_an_artifact_that_was_computed_twice_keeps_the_first_attempt(store, functions, monkeypatch):
    # Nobody waits: what happens when a lease was lost.
    from contextlib import nullcontext

    monkeypatch.setattr(store, "alone", lambda stage: nullcontext())
    results = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: compute(stage("slow"), store)})) for n in range(2)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join()
    assert len(functions.calls) == 2 and results[0] == results[1] == store.manifest(stage("slow"))
    assert store.attempts(stage("slow").artifact_id) == [results[0]["attempt"]]
    assert (store.folder(stage("slow")) / "data.txt").read_text() == "2"


def test_a_lease_of_the_dead_is_taken_over_and_one_of_the_living_is_not(s3_bucket):
    client = open_s3_client(s3_bucket.storage)
    order = []

    def hold(name: str, seconds: float) -> None:
        with object_lease(client, s3_bucket.name, "lease", lease_s=2, poll_s=0.1):
            order.append(f"{name} in")
            time.sleep(seconds)
            order.append(f"{name} out")

    living = threading.Thread(target=hold, args=("a", 4))
    living.start()
    while not order:
        time.sleep(0.05)
    hold("b", 0)  # waits for twice as long as a lease that is not renewed
    living.join()
    assert order == ["a in", "a out", "b in", "b out"]
    client.put_object(Bucket=s3_bucket.name, Key="lease", Body=b"left by a killed process")
    hold("c", 0)
    assert keys(s3_bucket, "lease") == set()


def test_who_lost_the_lease_stops(s3_bucket):
    client = open_s3_client(s3_bucket.storage)
    received = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: received.append(signum))
    try:
        with object_lease(client, s3_bucket.name, "lease", lease_s=1, poll_s=0.1):
            client.put_object(Bucket=s3_bucket.name, Key="lease", Body=b"taken over by another")
            deadline = time.monotonic() + 10
            while not received and time.monotonic() < deadline:
                time.sleep(0.05)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received and keys(s3_bucket, "lease") == {""}


def test_a_manifest_is_put_once(s3_bucket):
    client = open_s3_client(s3_bucket.storage)
    assert put_once(client, s3_bucket.name, MANIFEST, b"1")
    assert not put_once(client, s3_bucket.name, MANIFEST, b"2")
    assert client.get_object(Bucket=s3_bucket.name, Key=MANIFEST)["Body"].read() == b"1"


def test_nothing_is_published_when_writing_fails(s3_bucket):
    with pytest.raises(RuntimeError), written_to(f"{s3_bucket.uri}/out") as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert keys(s3_bucket, "out") == set()


def test_images_are_read_from_the_store(s3_bucket, scene_images):
    from inbol_ray.images import ImageError, load_image, read_image_bytes

    data = Path(scene_images[0]).read_bytes()
    s3_bucket.server.client().put_object(Bucket=s3_bucket.name, Key="a/images.bin", Body=b"xx" + data + b"yy")
    reference = f"{reference_to(f'{s3_bucket.uri}/a/images.bin', s3_bucket.storage)}#2:{len(data)}"
    assert read_image_bytes(reference) == data
    assert load_image(reference).tobytes() == load_image(scene_images[0]).tobytes()
    with pytest.raises(ImageError, match="cannot read the image"):
        read_image_bytes(reference_to(f"{s3_bucket.uri}/a/none.png", s3_bucket.storage))
