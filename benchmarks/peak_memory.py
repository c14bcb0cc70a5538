"""The largest memory of this process, of its Ray workers and of the object store, while something runs."""

import os
import subprocess
import threading
from pathlib import Path

SAMPLE_EVERY_S = 0.05


class PeakMemory:
    """Peaks in MiB, looked at 20 times a second (the object store twice): `mib["driver"]`, and the largest worker of each kind.

    `workers` maps a kind to what the titles of its processes contain. Private (anonymous) pages count: the object store
    is shared memory, which every process maps. With `object_store`, `mib["object_store"]` is what it holds at most.
    """

    def __init__(self, workers: dict[str, str], *, object_store: bool = False) -> None:
        self.workers, self.object_store = workers, object_store
        self.mib = dict.fromkeys(["driver", *workers], 0)

    def __enter__(self) -> "PeakMemory":
        self._stop = threading.Event()
        self._watchers = [threading.Thread(target=self._watch_processes, daemon=True)]
        if self.object_store:
            self._watchers.append(threading.Thread(target=self._watch_object_store, daemon=True))
        for watcher in self._watchers:
            watcher.start()
        return self

    def __exit__(self, *_error) -> None:
        self._stop.set()
        for watcher in self._watchers:
            watcher.join()

    def _watch_processes(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            self._note("driver", anonymous_mib("self"))
            for pid, title in _ray_workers():
                for kind, pattern in self.workers.items():
                    if pattern in title:
                        self._note(kind, anonymous_mib(pid))

    def _watch_object_store(self) -> None:
        from ray._private import internal_api, state  # Ray 2.60 has no public way to the store's size

        while not self._stop.wait(10 * SAMPLE_EVERY_S):  # each look asks every process of Ray
            stats = internal_api.get_memory_info_reply(state.state).store_stats
            self._note("object_store", stats.object_store_bytes_used >> 20)

    def _note(self, kind: str, mib: int) -> None:
        self.mib[kind] = max(self.mib.get(kind, 0), mib)


def anonymous_mib(pid: str) -> int:
    """Private memory of a process, 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("RssAnon")), 0)


def _ray_workers() -> list[tuple[str, str]]:
    """(process id, title) of the workers of this driver's Ray."""
    found = subprocess.run(["ps", "-eo", "pid,sid,args"], capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=2) for line in found.splitlines())
    session = str(os.getsid(0))
    return [(pid, title) for pid, sid, title in rows if sid == session and "ray::" in title]
