"""Where the progress of a run can be watched: Ray's Prometheus endpoint, the job's message, a log of JSON lines.

Each sink has `changed(event, stage, text)` and `finished(manifest)`; all of them live in the board's actor.
"""

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from inbol_ray.runtime.progress import BOARD, ProgressBoard, ProgressLine, StageProgress
from inbol_ray.runtime.stage import Stage

MAX_REASON_CHARS = 500
MESSAGE_EVERY_S = 5.0
LOG_EVERY_S = 10.0
METRICS_EVERY_S = 5.0
JOB_CONFIG_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def start_board():
    """The run's board actor, on the driver's node: it lives and dies with the driver. Ray must be up."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    context = ray.get_runtime_context()
    here = NodeAffinitySchedulingStrategy(context.get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0)(_WatchedBoard)
    return actor.options(name=BOARD, scheduling_strategy=here).remote(context.get_job_id(), submission_id())


@contextmanager
def watched(stage: Stage, label: str, board, waiting: Callable[[], str]) -> Iterator[None]:
    """Around the computing of a stage: tells the board of its start and failure, shows the board's line.

    `waiting` says what the stage waits for while nothing of it has reported.
    """
    board.start.remote(stage.name, stage.artifact_id)
    try:
        with ProgressLine(label, board, waiting):
            yield
    except BaseException as error:
        board.fail.remote(f"{type(error).__name__}: {error}"[:MAX_REASON_CHARS])
        raise


def submission_id(environ: dict[str, str] | None = None) -> str | None:
    """Id of the submitted job that this driver is; None for a driver that nobody submitted."""
    text = (os.environ if environ is None else environ).get(JOB_CONFIG_VARIABLE, "{}")
    return json.loads(text).get("metadata", {}).get("job_submission_id")


class _WatchedBoard(ProgressBoard):
    def __init__(self, job: str, submission: str | None) -> None:
        import ray

        job = submission or job
        logs = Path(ray._private.worker.global_worker.node.get_logs_dir_path())
        sinks = [MetricsSink(job), JsonLog(logs / f"inbol_ray-{job}.jsonl", job)]
        if submission:
            sinks.append(JobMessage(submission))
        super().__init__(sinks)


class MetricsSink:
    """Gauges on the Prometheus endpoint of the node (`ray_inbol_*`), one series a job, stage and artifact.

    Ray's agent was seen to drop a series that nobody sets any more (2.60), so all are set again every few seconds.
    """

    def __init__(self, job: str) -> None:
        from ray.util.metrics import Gauge

        tags = ("job", "stage", "artifact")
        self._tags = {"job": job}
        self.done = Gauge("inbol_done", "Units of the stage that are done.", (*tags, "unit"))
        self.total = Gauge("inbol_total", "Units that the stage has in all.", (*tags, "unit"))
        self.rate = Gauge("inbol_rate_per_s", "Units a second since the stage's first report.", (*tags, "unit"))
        self.measure = Gauge("inbol_measure", "A number that the stage reports, such as its loss.", (*tags, "name"))
        self.rows = Gauge("inbol_rows", "What a finished stage counted.", (*tags, "kind"))
        self.rejected = Gauge("inbol_rejected", "Rows that a finished stage rejected.", (*tags, "reason"))
        self.wall = Gauge("inbol_wall_s", "Seconds that a finished stage took.", tags)
        self._values: dict[tuple, float] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._set_again, daemon=True).start()

    def changed(self, event: str, stage: StageProgress | None, text: str) -> None:
        if event != "progress":
            return
        tags = self._tags | {"stage": stage.stage, "artifact": stage.artifact}
        self._set(self.done, stage.done, tags | {"unit": stage.unit})
        self._set(self.total, stage.total, tags | {"unit": stage.unit})
        self._set(self.rate, stage.rate_per_s, tags | {"unit": stage.unit})
        for name, value in stage.measures.items():
            self._set(self.measure, value, tags | {"name": name})

    def finished(self, manifest: dict) -> None:
        tags = self._tags | {"stage": manifest["stage"], "artifact": manifest["artifact"]}
        for kind, count in manifest["counts"].items():
            self._set(self.rows, count, tags | {"kind": kind})
        for reason, count in manifest["rejected"].items():
            self._set(self.rejected, count, tags | {"reason": reason})
        self._set(self.wall, manifest["wall_s"], tags)

    def _set(self, gauge, value: float, tags: dict[str, str]) -> None:
        with self._lock:
            self._values[gauge, tuple(tags.items())] = value
        gauge.set(value, tags)

    def _set_again(self) -> None:
        while True:
            time.sleep(METRICS_EVERY_S)
            with self._lock:
                values = dict(self._values)
            for (gauge, tags), value in values.items():
                gauge.set(value, dict(tags))


class JsonLog:
    """One JSON object a line beside Ray's own logs, where log shippers and the dashboard's log page find it."""

    def __init__(self, path: Path, job: str) -> None:
        self._path, self._job, self._last_progress = path, job, 0.0

    def changed(self, event: str, stage: StageProgress | None, text: str) -> None:
        now = time.monotonic()
        if event == "progress":
            if now - self._last_progress < LOG_EVERY_S:
                return
            self._last_progress = now
        fields = {"event": event, "text": text}
        if stage is not None:
            fields |= {"stage": stage.stage, "artifact": stage.artifact}
            if event == "progress":
                fields |= {"done": stage.done, "total": stage.total, "unit": stage.unit, "measures": stage.measures}
                fields["rate_per_s"] = round(stage.rate_per_s, 3)
        self._write(fields)

    def finished(self, manifest: dict) -> None:
        kept = ("stage", "artifact", "counts", "rejected", "wall_s")
        self._write({"event": "finished"} | {key: manifest[key] for key in kept})

    def _write(self, fields: dict) -> None:
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "job": self._job} | fields
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class JobMessage:
    """The submitted job's message and metadata, as the dashboard and `ray job list` show them."""

    def __init__(self, submission: str) -> None:
        import ray
        from ray.dashboard.modules.job.common import JobInfoStorageClient

        # Ray has no public call for a job to describe itself.
        self._client = JobInfoStorageClient(ray._raylet.GcsClient(address=ray.get_runtime_context().gcs_address))
        self._submission, self._last = submission, 0.0

    def changed(self, event: str, stage: StageProgress | None, text: str) -> None:
        now = time.monotonic()
        if event == "progress" and now - self._last < MESSAGE_EVERY_S:
            return
        self._last = now
        metadata = {"stage": stage.stage, "artifact": stage.artifact} if stage else {}
        self._put(" ".join(filter(None, (stage.stage if stage else "", event, text))), metadata)

    def finished(self, manifest: dict) -> None:
        self._put(f"{manifest['stage']} finished in {manifest['wall_s']:.0f} s", {})

    def _put(self, message: str, metadata: dict[str, str]) -> None:
        asyncio.run(self._replace(message, metadata))

    async def _replace(self, message: str, metadata: dict[str, str]) -> None:
        from ray.job_submission import JobStatus

        info = await self._client.get_info(self._submission)
        if info is not None and info.status == JobStatus.RUNNING:
            replaced = {"metadata": (info.metadata or {}) | metadata}
            await self._client.put_status(
                self._submission, JobStatus.RUNNING, message=message, jobinfo_replace_kwargs=replaced
            )
