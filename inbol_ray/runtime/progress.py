"""Progress of a run: any process of a stage tells the board, and the board tells everybody else.

write_progress (any process) -> ProgressBoard (one actor a run) -> terminal line, Prometheus metrics, job message, log

Messages are sent and not waited for. A lost one is mended by the next: each carries the whole state of its part.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

BOARD = "inbol_progress"
"""Name of the run's board actor."""
MAX_BLOCKS = 2_000
"""Timings of one unit that are kept."""


def write_progress(
    artifact: str | None,
    done: int,
    total: int,
    unit: str,
    note: str = "",
    part: str | None = None,
    measures: dict[str, float] | None = None,
) -> None:
    """Tell the progress of one part (this process, unless named) of an artifact: `done` of the stage's `total`.

    `measures` are named numbers worth a curve, for example {"loss": 0.3}. Does nothing without an artifact or a board.
    """
    board = _find_board() if artifact else None
    if board is not None:
        board.report.remote(artifact, part or this_process(), done, total, unit, note, measures or {})


def request_stop() -> None:
    """Ask the run's workers to stop at their next checkpoint; not waited for."""
    board = _find_board()
    if board is not None:
        board.stop.remote()


def stop_requested() -> bool:
    """Whether `request_stop` was called in this run; False where that cannot be known."""
    import ray

    board = _find_board()
    try:
        return board is not None and ray.get(board.is_stopping.remote(), timeout=10)
    except ray.exceptions.RayError:
        return False


def _find_board():
    """The run's board actor, looked up once in a process; None outside a run."""
    import ray

    if not ray.is_initialized():
        return None
    job = ray.get_runtime_context().get_job_id()
    if job not in _boards:
        try:
            _boards[job] = ray.get_actor(BOARD)
        except ValueError:
            return None
    return _boards[job]


_boards: dict[str, object] = {}


def this_process() -> str:
    """A name for this process among all of a cluster."""
    import ray

    return f"{ray.get_runtime_context().get_node_id()[:8]}-{os.getpid()}"


def read_timing(artifact: str) -> dict[str, dict]:
    """How long a stage's parts took so far, by unit (`UnitTiming.to_json`); empty outside a run."""
    import ray

    board = _find_board()
    try:
        return ray.get(board.timing.remote(artifact), timeout=30) if board is not None else {}
    except ray.exceptions.RayError:
        return {}


@dataclass
class UnitTiming:
    """Seconds of each block of work of one kind, for `inbol_ray.plan`: a part's report ends a block of its work."""

    started: float
    first: float | None = None
    last: float = 0.0
    parts: dict[str, tuple[float, int]] = field(default_factory=dict)
    blocks: list[tuple[int, float]] = field(default_factory=list)

    def report(self, part: str, done: int) -> None:
        now = time.monotonic()
        if part in self.parts:
            # The first block of a part is left out: it has the start of its process in it.
            before, done_before = self.parts[part]
            if done > done_before:
                self.blocks.append((done - done_before, now - before))
        self.first = now if self.first is None else self.first
        self.parts[part], self.last = (now, done), now

    def to_json(self) -> dict:
        step = -(-len(self.blocks) // MAX_BLOCKS) or 1
        return {
            "parts": len(self.parts),
            "done": sum(done for _, done in self.parts.values()),
            "first_report_s": round((self.first or self.started) - self.started, 3),
            "tail_s": round(time.monotonic() - self.last, 3) if self.parts else 0.0,
            "blocks": [[rows, round(seconds, 4)] for rows, seconds in self.blocks[::step]],
        }


@dataclass
class StageProgress:
    """What the parts of one stage have told so far."""

    stage: str
    artifact: str
    started: float
    parts: dict[str, int] = field(default_factory=dict)
    first_done: int | None = None
    total: int = 0
    unit: str = ""
    note: str = ""
    measures: dict[str, float] = field(default_factory=dict)
    timing: dict[str, UnitTiming] = field(default_factory=dict)

    @property
    def done(self) -> int:
        return sum(self.parts.values())

    def report(self, part: str, done: int, total: int, unit: str, note: str, measures: dict[str, float]) -> None:
        if unit != self.unit:  # a stage's next step counts other things
            self.parts, self.first_done, self.unit = {}, None, unit
        self.timing.setdefault(unit, UnitTiming(time.monotonic() if self.timing else self.started)).report(part, done)
        self.parts[part] = done
        self.total, self.note = total, note
        self.measures |= measures
        if self.first_done is None:
            # The first report starts the clock, so that a start or a resumed count does not distort the rate.
            self.first_done, self.started = self.done, time.monotonic()

    @property
    def rate_per_s(self) -> float:
        """Units a second since the first report; 0 before there was a second one."""
        elapsed = time.monotonic() - self.started
        return (self.done - (self.first_done or 0)) / elapsed if elapsed > 0 else 0.0

    def __str__(self) -> str:
        return f"{self.done:,}/{self.total:,} {self.unit}  {self.note}".rstrip() if self.unit else ""


class ProgressBoard:
    """The run's one collector; a Ray actor beside the driver. `sinks` get every change (see `inbol_ray.runtime.progress_sinks`)."""

    def __init__(self, sinks: list) -> None:
        self._sinks = sinks
        self._stage: StageProgress | None = None
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True
        self._tell("stopping", "checkpoint, then exit")

    def is_stopping(self) -> bool:
        return self._stopping

    def start(self, stage: str, artifact: str) -> None:
        self._stage = StageProgress(stage, artifact, time.monotonic())
        self._tell("started", "")

    def report(self, artifact: str, *report) -> None:
        if self._stage is None or artifact != self._stage.artifact:
            return
        self._stage.report(*report)
        self._tell("progress", str(self._stage))

    def timing(self, artifact: str) -> dict[str, dict]:
        if self._stage is None or artifact != self._stage.artifact:
            return {}
        return {unit: timing.to_json() for unit, timing in self._stage.timing.items()}

    def state(self) -> str:
        """One phrase, for example `1,024/6,000 questions`; empty before the first report of a stage."""
        return str(self._stage or "")

    def wait(self, reason: str) -> None:
        self._tell("waiting", reason)

    def finish(self, manifest: dict) -> None:
        for sink in self._sinks:
            sink.finished(manifest)

    def fail(self, reason: str) -> None:
        self._tell("failed", reason)

    def _tell(self, event: str, text: str) -> None:
        for sink in self._sinks:
            sink.changed(event, self._stage, text)


class ProgressLine:
    """Shows a stage while it runs: a line that updates in a terminal, a new line every 15 s elsewhere.

    `waiting` says what the stage waits for as long as nothing of it has reported; it is told to the board as well.
    """

    def __init__(self, title: str, board, waiting: Callable[[], str] = str, stream=None) -> None:
        self.title, self.board, self.waiting, self.stream = title, board, waiting, stream or sys.stdout
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
        import ray

        last = ""
        while not self._stop.wait(0.5 if self.is_terminal else 15):
            try:
                state = ray.get(self.board.state.remote(), timeout=10)
            except (ray.exceptions.RayError, TimeoutError):
                continue
            if not state and (state := self.waiting()) and state != last:
                self.board.wait.remote(state)
            text = f"{time.monotonic() - self._started:5.0f} s  {state or 'starting'}"
            if self.is_terminal:
                self.stream.write(f"\r\x1b[2K{self.title} {text}")
            elif state != last:
                self.stream.write(f"{self.title} {text}\n")
            last = state
            self.stream.flush()
