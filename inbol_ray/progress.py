"""Progress of a stage: its processes each keep one small file, the driver shows their sum as one line.

Files rather than messages, so that any process of a stage can write and nobody waits for anybody.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path


def write_progress(
    folder: str | Path | None, done: int, total: int, unit: str, note: str = "", part: str | None = None
) -> None:
    """Replace the progress of one part (this process, unless named): `done` of the stage's `total`.

    Does nothing without a folder.
    """
    if folder is None:
        return
    path = Path(folder) / f"{part or os.getpid()}.json"
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(json.dumps({"done": done, "total": total, "unit": unit, "note": note}))
    os.replace(partial, path)


def read_progress(folder: Path) -> str:
    """One phrase from all processes' files, for example `1,024/6,000 questions`; empty before the first."""
    states = []
    for path in sorted(folder.glob("*.json")):
        try:
            states.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue
    if not states:
        return ""
    done, last = sum(state["done"] for state in states), states[-1]
    return f"{done:,}/{last['total']:,} {last['unit']}  {last['note']}".rstrip()


class ProgressLine:
    """Shows a stage while it runs: a line that updates in a terminal, a new line every 15 s elsewhere."""

    def __init__(self, title: str, folder: Path, stream=None) -> None:
        self.title, self.folder, self.stream = title, folder, stream or sys.stdout
        self.is_terminal = self.stream.isatty()
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "ProgressLine":
        self._thread.start()
        return self

    def __exit__(self, *_exc) -> None:
        self._stop.set()
        self._thread.join()
        if self.is_terminal:
            self.stream.write("\r\x1b[2K")
            self.stream.flush()

    def _watch(self) -> None:
        last = ""
        while not self._stop.wait(0.5 if self.is_terminal else 15):
            state = read_progress(self.folder)
            text = f"{time.monotonic() - self._started:5.0f} s  {state or 'starting'}"
            if self.is_terminal:
                self.stream.write(f"\r\x1b[2K{self.title} {text}")
            elif state != last:
                self.stream.write(f"{self.title} {text}\n")
            last = state
            self.stream.flush()
