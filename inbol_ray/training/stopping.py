"""Stopping a training on SIGTERM: every worker checkpoints after the same step, and the next run goes on from there."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from inbol_ray.runtime.progress import request_stop, stop_requested

ASK_EVERY_S = 1.0


class StopSignal:
    """Whether the job has been asked to stop. Calling it is collective: all workers get the same answer."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._last = device, time.monotonic()

    def __call__(self) -> bool:
        flag = torch.zeros((), device=self._device)
        if dist.get_rank() == 0 and time.monotonic() - self._last > ASK_EVERY_S:
            self._last = time.monotonic()
            flag.fill_(stop_requested())
        dist.broadcast(flag, src=0)
        return bool(flag)


@contextmanager
def checkpoint_on_sigterm() -> Iterator[None]:
    """In the driver: the first SIGTERM lets the workers checkpoint and end; a second one stops at once.

    The block must end once the workers have. Raises SystemExit with the code of SIGTERM then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received = False

    def ask_workers(signum, frame) -> None:
        nonlocal received
        received = True
        signal.signal(signal.SIGTERM, before)
        request_stop()

    before = signal.signal(signal.SIGTERM, ask_workers)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
    if received:
        raise SystemExit(128 + signal.SIGTERM)
