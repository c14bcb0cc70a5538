"""Sampling under SIGKILL: of the driver, of an engine's process, of a node. Real Ray, real vLLM, real kills."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
JOB = Path(__file__).with_name("sample_job.py")
NUM_QUESTIONS, BLOCK = 600, 16  # four blocks are in hand
NUM_BLOCKS = -(-NUM_QUESTIONS // BLOCK)
ENGINE = "ray::MapWorker(MapBatches(AnswerBlock))"
ONE_ENGINE = ["--engine.num_engines", "1"]


class Job:
    """A sampling job as a process of its own session, and what it leaves on disk."""

    def __init__(self, model, image, folder, *options):
        self.folder = folder
        command = [sys.executable, str(JOB), str(model), image, str(folder), str(NUM_QUESTIONS), *options]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def parts(self) -> dict[str, int]:
        """When each finished part was written, by its name."""
        return {path.name: path.stat().st_mtime_ns for path in self.folder.glob("parts/*/0???????.parquet")}

    def wait_for_parts(self, count: int) -> None:
        """Raises AssertionError where the job ends before."""
        deadline = time.monotonic() + 120
        while len(self.parts()) < count and time.monotonic() < deadline:
            assert self.process.poll() is None, self.process.stdout.read()
            time.sleep(0.01)
        assert len(self.parts()) >= count

    def engines(self) -> list[int]:
        """Process ids of the live engines of this job, which are in the driver's session."""
        parents = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cmdline").read_text().startswith(ENGINE):
                    _state, parent, _group, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                    if int(session) == self.process.pid:
                        parents[int(entry.name)] = int(parent)
            except OSError:
                continue
        return [pid for pid, parent in parents.items() if parent not in parents]  # not a child that is about to exec

    def answered(self) -> Counter[str]:
        """How often each question was answered in all runs so far."""
        tally = self.folder / "tally"
        return Counter(tally.read_text().split() if tally.exists() else ())

    def answered_again(self) -> int:
        """How many of the answers of all runs so far were given before."""
        return sum(count - 1 for count in self.answered().values())

    def wait_for_answers_without_a_part(self, count: int) -> None:
        """Wait for the moment at which losing all but the parts would cost the most."""
        while self.process.poll() is None:
            in_parts = {name for path in self.folder.glob("parts/*/0???????.parquet") for name in read_ids(path)}
            if len(self.answered().keys() - in_parts) >= count:
                return
        raise AssertionError(f"no {count} answers ever waited for their block: {self.process.stdout.read()}")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def finish(self) -> str:
        output = self.process.communicate(timeout=300)[0]
        assert self.process.returncode == 0, output
        return output


def read_ids(part: Path) -> list[str]:
    return pq.read_table(part, columns=["id"])["id"].to_pylist()


@pytest.fixture
def start(tiny_llava, scene_images, tmp_path):
    jobs = []

    def start(*options, folder=tmp_path, model=tiny_llava) -> Job:
        folder.mkdir(exist_ok=True)
        jobs.append(Job(model, scene_images[0], folder, *options))
        return jobs[-1]

    yield start
    for job in jobs:
        if job.process.poll() is None:
            job.kill()


@pytest.fixture(scope="module")
def undisturbed(tiny_llava, scene_images, tmp_path_factory):
    """The replies of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    Job(tiny_llava, scene_images[0], folder, *ONE_ENGINE).finish()
    return check_replies(folder)


def check_replies(folder: Path) -> list[dict]:
    """Every question once, with exactly N samples, or rejected with the reason that it was given."""
    rows = pq.read_table(folder / "replies.parquet").to_pylist()
    assert [row["id"] for row in rows] == [f"q:{number:05d}" for number in range(NUM_QUESTIONS)]
    for number, row in enumerate(rows):
        reason = {0: "unreadable_image", 25: "prompt_refused"}.get(number % 50, "")
        assert row["reason"] == reason
        assert len(row["responses"]) == len(row["token_logprobs"]) == (0 if reason else 10)
    return rows


def last_words(job: Job) -> str:
    """The one line that a job fails with."""
    output = job.process.communicate(timeout=200)[0]
    (error,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert job.process.returncode == 1
    return error


def kill_engine(job: Job) -> None:
    os.kill(random.choice(job.engines()), signal.SIGKILL)


def check_not_done_again(before: dict[str, int], job: Job) -> None:
    """Parts that were there are the same files still."""
    assert before.items() <= job.parts().items()


def test_a_killed_engine_and_a_killed_driver_cost_no_sample(start, tmp_path):
    job = start(*ONE_ENGINE)
    job.wait_for_parts(random.randint(1, 8))
    job.wait_for_answers_without_a_part(2 * BLOCK + BLOCK // 2)  # more than two kills may cost
    kill_engine(job)
    job.wait_for_parts(len(job.parts()) + random.randint(2, 8))  # the engine is back
    job.kill()
    finished = job.parts()
    assert 0 < len(finished) < NUM_BLOCKS, "the kill came too late to test anything"
    again = start(*ONE_ENGINE)
    again.finish()
    check_replies(tmp_path)
    check_not_done_again(finished, again)
    assert again.answered_again() <= 2 * BLOCK  # two kills


@pytest.mark.slow
def test_an_engine_that_dies_again_and_again_fails_the_job_with_the_cause(start, tmp_path):
    job = start(*ONE_ENGINE, "--engine.max_restarts", "1", "--poison", "q:00101")
    error = last_words(job)
    assert "the engine choked" in error and "q:00096" in error and "max_restarts (1)" in error
    assert 2 <= (tmp_path / "tally").read_text().count("died") <= 3  # the first start and one more


@pytest.mark.slow
def test_an_engine_that_cannot_start_fails_the_job_at_once(start, tiny_llava, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_llava, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    job = start(*ONE_ENGINE, model=broken)
    error = last_words(job)
    assert "an engine cannot start" in error and "afetensor" in error


@pytest.mark.slow
def test_the_pool_grows_while_there_is_work_for_more(start, tmp_path):
    job = start("--engine.min_engines", "1", "--engine.num_engines", "2", "--engine.batch_size", "16")
    most = 0
    while job.process.poll() is None:
        most = max(most, len(job.engines()))
        time.sleep(0.2)
    job.finish()
    check_replies(tmp_path)
    assert most == 2


@pytest.mark.slow
def test_an_engine_on_two_devices_draws_the_same_samples(start, tmp_path):
    from inbol_ray.config.model import PromptConfig, ToyBaseModel
    from inbol_ray.toyworld.base_model import build_model, build_processor, save_new_model

    processor = build_processor(PromptConfig())
    model = tmp_path / "model"  # its attention heads can be halved
    save_new_model(build_model(ToyBaseModel(hidden_size=128), processor, seed=0), processor, model)
    replies = {}
    for size in ("1", "2"):
        options = ["--engine.tensor_parallel_size", size, "--engine.num_cpus_per_engine", size]
        start(*ONE_ENGINE, *options, folder=tmp_path / size, model=model).finish()
        replies[size] = [row["responses"] for row in check_replies(tmp_path / size)]
    same = sum(one == two for one, two in zip(replies["1"], replies["2"], strict=True))
    assert same >= 0.99 * NUM_QUESTIONS  # sums in another order may tip a near tie


@pytest.mark.slow
@pytest.mark.parametrize("number", range(4))
def test_many_kills_at_random_points(start, undisturbed, tmp_path, number):
    """Engines and drivers die again and again; the samples are those of the run that nobody disturbed."""
    random.seed(number)
    num_engines = 1 + number % 2
    options = ["--engine.num_engines", str(num_engines), "--engine.max_restarts", "50"]
    kills, may_be_lost, finished = Counter(), 0, {}
    job = start(*options)
    while kills.total() < 30 and len(job.parts()) < NUM_BLOCKS:
        wanted = len(job.parts()) + random.randint(0, 8)
        while job.process.poll() is None and len(job.parts()) < wanted:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.2))
        if job.process.poll() is not None:
            break
        if job.engines() and random.random() < 0.6:
            kill_engine(job)
            kills["engine"] += 1
            may_be_lost += BLOCK
        else:
            job.kill()
            finished |= job.parts()
            kills["driver"] += 1
            may_be_lost += num_engines * BLOCK
            job = start(*options)
    job.finish()
    print(f"killed: {dict(kills)}; answered again: {job.answered_again()} questions of {may_be_lost} at most")
    assert kills, "no kill came in time"
    assert job.answered_again() <= may_be_lost
    check_not_done_again(finished, job)
    assert [row["responses"] for row in check_replies(tmp_path)] == [row["responses"] for row in undisturbed]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_a_killed_node_costs_no_sample(start, tmp_path, number):
    """Two worker nodes with an engine each; one of them dies as a machine does, all its processes at once."""
    from ray.cluster_utils import Cluster

    random.seed(number)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes = [cluster.add_node(num_cpus=2) for _ in range(2)]
        job = start("--engine.num_engines", "2", "--ray.address", cluster.address)
        job.wait_for_parts(random.randint(1, 15))
        cluster.remove_node(random.choice(nodes), allow_graceful=False)
        assert job.process.poll() is None
        finished = job.parts()
        job.finish()
        check_replies(tmp_path)
        check_not_done_again(finished, job)
        assert job.answered_again() <= BLOCK
    finally:
        cluster.shutdown()
