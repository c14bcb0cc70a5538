"""An engine's memory: how much of its devices it takes, and the wait until that much is free.

vLLM measures a device once, when it starts, and gives up where less is free than it is to take. But the engine of the
pool before may still be letting go of its memory then, and Ray does not repeat a constructor that fails.
"""

import fcntl
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir

from inbol_ray.config.machines import EngineConfig
from inbol_ray.errors import EngineError

POLL_S = 2.0
GIB = 1 << 30
_TELL_AFTER_S = 10.0
_READ = (
    "import json, torch; print(json.dumps([(*torch.cuda.mem_get_info(i), str(torch.cuda.get_device_properties(i).uuid)) "
    "for i in range(torch.cuda.device_count())]))"
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceMemory:
    """Of one device that this process sees, in bytes; `uuid` is the same for all processes of the node."""

    free: int
    total: int
    uuid: str = ""


def read_devices() -> list[DeviceMemory]:
    """The GPUs that this process sees, read as vLLM does. Raises EngineError where there is none to read.

    In a process of its own: asking CUDA takes some 500 MB of the device for as long as the asking process lives.
    """
    done = subprocess.run([sys.executable, "-c", _READ], capture_output=True, text=True)
    devices = json.loads(done.stdout) if done.returncode == 0 else []
    if not devices:
        said = (done.stderr.strip() or "torch sees no CUDA device").splitlines()[-1]
        raise EngineError(
            f"an engine is to compute on a GPU, and this process has none ({said}). Set engine.device: cpu, or "
            "engine.num_gpus_per_engine to what an engine is to reserve"
        )
    return [DeviceMemory(free, total, uuid) for free, total, uuid in devices]


@contextmanager
def device_memory(
    engine: EngineConfig,
    read: Callable[[], Sequence[DeviceMemory]] = read_devices,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[int | None]:
    """Create an engine inside: there its share of each of its devices is free. Yields the bytes of that share.

    Engines that share a device start one after the other, since each measures what the whole device loses meanwhile.
    None, at once, for an engine that computes on the CPU. Raises EngineError where `engine.memory_timeout_s` is not
    enough.
    """
    if engine.compute_device == "cpu":
        yield None
        return
    with _turn(engine, read):
        began, told = clock(), False
        while True:
            devices = read()[: engine.tensor_parallel_size]
            short = [device for device in devices if device.free < engine.memory_share * device.total]
            if not short:
                break
            waited = clock() - began
            if waited >= engine.memory_timeout_s:
                raise EngineError(_refusal(engine, short[0], waited))
            if waited >= _TELL_AFTER_S and not told:
                _log.warning("waiting for the memory of a device: %s", _lack(engine, short[0]))
                told = True
            sleep(POLL_S)
        yield min(int(engine.memory_share * device.total) for device in devices)


@contextmanager
def _turn(engine: EngineConfig, read: Callable[[], Sequence[DeviceMemory]]) -> Iterator[None]:
    """Inside, no other engine starts on a device that they share."""
    if engine.memory_share == engine.gpu_memory_utilization:  # whole devices
        yield
        return
    with open(Path(gettempdir()) / f"inbol-engine-{read()[0].uuid}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # and the end of the process lets go of it
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a process that vLLM forked meanwhile has the file open still


def _lack(engine: EngineConfig, device: DeviceMemory) -> str:
    return (
        f"an engine is to have {engine.memory_share * device.total / GIB:.1f} GiB of a device of "
        f"{device.total / GIB:.1f} GiB ({engine.memory_share:.2f} of it), of which others hold "
        f"{(device.total - device.free) / GIB:.1f} GiB and {device.free / GIB:.1f} GiB are free"
    )


def _refusal(engine: EngineConfig, device: DeviceMemory, waited: float) -> str:
    fits = device.free / device.total * engine.gpu_memory_utilization / engine.memory_share
    lower = f"lower engine.gpu_memory_utilization to {int(fits * 100) / 100:g} or less" if fits >= 0.01 else ""
    mends = ["end the process that holds it (nvidia-smi names it)", lower, "raise engine.memory_timeout_s"]
    return f"{_lack(engine, device)}, after {waited:.0f} s of waiting. To mend it, {', or '.join(filter(None, mends))}"
