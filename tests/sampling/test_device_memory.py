"""The wait for a device that another process still holds; devices are counted here, the clock is set forward."""

import os
import signal
import threading
import time

import pytest

from inbol_ray.config.machines import EngineConfig
from inbol_ray.errors import EngineError
from inbol_ray.sampling.device_memory import DeviceMemory, device_memory, read_devices

WHOLE = EngineConfig(num_gpus_per_engine=1, memory_timeout_s=60)
HALF = WHOLE.model_copy(update={"num_gpus_per_engine": 0.5})
TOTAL = 80 << 30


class Node:
    """GPUs of which others hold `held[second]` bytes from that second on, and a clock that sleeping sets forward."""

    def __init__(self, *held: dict[int, int]) -> None:
        self.held, self.now = held, 0.0

    def read(self) -> list[DeviceMemory]:
        now = [by_second[max(second for second in by_second if second <= self.now)] for by_second in self.held]
        return [DeviceMemory(TOTAL - held, TOTAL, f"gpu{number}") for number, held in enumerate(now)]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def start(self, engine: EngineConfig) -> int | None:
        with device_memory(engine, self.read, self.sleep, lambda: self.now) as share:
            return share


def test_an_engine_waits_until_its_predecessor_has_let_go():
    node = Node({0: 70 << 30, 7: 40 << 30, 13: 1 << 30})
    assert node.start(WHOLE) == int(0.92 * TOTAL)
    assert 13 <= node.now < 20


def test_a_free_device_costs_no_wait():
    node = Node({0: 0})
    assert node.start(WHOLE) and node.now == 0


def test_half_a_device_that_is_held_for_good_is_named_with_what_mends_it():
    node = Node({0: TOTAL // 2})
    with pytest.raises(EngineError) as raised:
        node.start(WHOLE)
    said = str(raised.value)
    assert "73.6 GiB of a device of 80.0 GiB" in said and "others hold 40.0 GiB and 40.0 GiB are free" in said
    assert "lower engine.gpu_memory_utilization to 0.5 or less" in said and "engine.memory_timeout_s" in said
    assert 60 <= node.now < 70
    as_told = WHOLE.model_copy(update={"gpu_memory_utilization": 0.5})
    assert node.start(as_told) == TOTAL // 2


def test_every_device_of_an_engine_must_be_free_and_no_other():
    busy = {0: TOTAL // 2}
    spread = WHOLE.model_copy(update={"num_gpus_per_engine": 2, "tensor_parallel_size": 2})
    with pytest.raises(EngineError, match="40.0 GiB are free"):
        Node({0: 0}, busy).start(spread)
    assert Node({0: 0}, {0: 0}, busy).start(spread)


def test_half_a_gpu_takes_half_its_memory_beside_another_engine():
    share = int(0.46 * TOTAL)
    assert Node({0: share}).start(HALF) == share
    with pytest.raises(EngineError, match="36.8 GiB of a device of 80.0 GiB"):
        Node({0: 2 * share}).start(HALF)


def test_engines_that_share_a_device_start_one_after_the_other(monkeypatch, tmp_path):
    monkeypatch.setattr("inbol_ray.sampling.device_memory.gettempdir", lambda: str(tmp_path))
    inside, most, lock = [], [], threading.Lock()

    def start() -> None:
        with device_memory(HALF, Node({0: 0}).read):
            with lock:
                inside.append(1)
                most.append(len(inside))
            time.sleep(0.05)
            with lock:
                inside.pop()

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert most == [1, 1, 1]


def test_a_process_that_an_engine_forked_does_not_keep_the_next_from_starting(monkeypatch, tmp_path):
    monkeypatch.setattr("inbol_ray.sampling.device_memory.gettempdir", lambda: str(tmp_path))
    with device_memory(HALF, Node({0: 0}).read):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        started = threading.Thread(target=Node({0: 0}).start, args=(HALF,), daemon=True)
        started.start()
        started.join(timeout=20)
        assert not started.is_alive()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_an_engine_on_the_cpu_asks_for_no_device():
    with device_memory(EngineConfig(num_gpus_per_engine=1, device="cpu")) as share:
        assert share is None


def test_a_process_without_a_gpu_is_told_what_to_set():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match="has none .*engine.device: cpu"), device_memory(WHOLE):
        raise AssertionError("no device")


@pytest.mark.gpu
def test_another_process_that_holds_half_a_gpu_is_seen_and_its_end_too():
    """Unproven where no GPU is: what CUDA says of memory that another process holds."""
    import subprocess
    import sys

    free = read_devices()[0].free
    hold = (
        "import sys, torch; held = torch.empty(torch.cuda.mem_get_info()[0] // 2, dtype=torch.uint8, device='cuda'); "
        "print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()
        assert read_devices()[0].free < 0.6 * free
        with (
            pytest.raises(EngineError, match="GiB are free"),
            device_memory(WHOLE.model_copy(update={"memory_timeout_s": 0})),
        ):
            raise AssertionError("no room")
        threading.Timer(5, holder.stdin.close).start()
        with device_memory(WHOLE) as share:
            assert share <= read_devices()[0].free
    finally:
        holder.kill()
