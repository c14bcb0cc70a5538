"""Where metrics go: Ray Train, `metrics.jsonl`, TensorBoard, and MLflow and Weights & Biases if configured; the first worker
writes.

What a step that is run again after a crash had written before is removed, so each step is there once. A run whose
folder is in a store is logged to a local folder, which is copied to the store with every checkpoint.
"""

import importlib.util
import json
import logging
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tensorboardX import SummaryWriter

from inbol_ray.config.training import TrackingConfig
from inbol_ray.errors import ConfigError
from inbol_ray.runtime.progress import write_progress
from inbol_ray.store.local_copies import copy_folder
from inbol_ray.store.storage import is_remote
from inbol_ray.training.optimizer_step import SUMS

LOGS = "logs"
CURVE = "metrics.jsonl"
SUMMARY = "summary.json"
logger = logging.getLogger(__name__)


def check_packages(config: TrackingConfig) -> None:
    """Raise ConfigError where a tracker is configured whose package is not installed."""
    for field, package in (("mlflow_tracking_uri", "mlflow"), ("wandb_project", "wandb")):
        value = getattr(config, field)
        if value and importlib.util.find_spec(package) is None:
            raise ConfigError(
                f"tracking.{field} is {value!r}, but the package {package} is not installed: install "
                f"inbol-ray[{package}] on every node, or set it to null"
            )


class Tracker:
    """Collects each step's metrics and reports them every `report_every_steps`, and at the last step.

    `run` is the loop's TrainingRun. Only the worker with `writes` touches files.
    """

    def __init__(self, run, config: TrackingConfig, *, first_step: int, writes: bool) -> None:
        self.run, self.config, self.first_step, self.writes = run, config, first_step, writes
        self.latest: dict[str, float] = {}
        self.has_news = False
        self._window: dict[str, list[float]] = defaultdict(list)
        if not writes:
            return
        self._uri = f"{run.run_dir}/{LOGS}"
        if is_remote(self._uri):
            self._local = tempfile.TemporaryDirectory(prefix="inbol_ray-")  # goes with this object
            self.folder = Path(self._local.name)
            if first_step:
                copy_folder(self._uri, str(self.folder))
        else:
            self.folder = Path(self._uri)
            self.folder.mkdir(parents=True, exist_ok=True)
        self._drop_later_lines(first_step)
        self._board = SummaryWriter(str(self.folder), purge_step=first_step + 1 if first_step else None)
        self._elsewhere: list[_MlflowRun | _WandbRun] = []
        if config.mlflow_tracking_uri:
            self._elsewhere.append(_MlflowRun(run, config, self.folder))
        if config.wandb_project:
            self._elsewhere.append(_WandbRun(run, config, self.folder))

    def _drop_later_lines(self, step: int) -> None:
        curve = self.folder / CURVE
        if curve.exists():
            kept = []
            for line in curve.read_text().splitlines():
                try:
                    kept += [line] if json.loads(line)["step"] <= step else []
                except ValueError:  # the crash cut the last line off
                    continue
            curve.write_text("".join(f"{line}\n" for line in kept))

    def record(self, step: int, metrics: dict[str, float]) -> None:
        """Take in the metrics of a step; `has_news` tells whether they completed a report, which is `latest`."""
        for name, value in metrics.items():
            self._window[name].append(value)
        is_last = step == self.run.num_steps
        self.has_news = step % self.config.report_every_steps == 0 or is_last
        if not self.has_news:
            return
        means = {
            name: sum(values) if name in SUMS else sum(values) / len(values) for name, values in self._window.items()
        }
        self._window.clear()
        self.latest = {"step": step, **means}
        if self.writes:
            self._write()

    def _write(self) -> None:
        step, values = self.latest["step"], {key: value for key, value in self.latest.items() if key != "step"}
        with open(self.folder / CURVE, "a") as file:
            file.write(json.dumps(self.latest) + "\n")
        for name, value in values.items():
            self._board.add_scalar(f"train/{name}", value, step)
        self._board.flush()
        for tracker in self._elsewhere:
            tracker.log(values, step)
        note = f"loss {values['loss']:.3f}"
        # One part: after a restart another process goes on counting.
        write_progress(self.run.progress, step, self.run.num_steps, "steps", note, part="training", measures=values)

    def save(self) -> None:
        """Copy what has been written to the run's folder, where that is in a store."""
        if self.writes and is_remote(self._uri):
            copy_folder(str(self.folder), self._uri)

    def pause(self) -> None:
        """For a process that ends before its training does: what has been written reaches its place."""
        if self.writes:
            self._board.close()
            for tracker in self._elsewhere:
                tracker.pause()
            self.save()

    def finish(self, *, num_workers: int) -> None:
        """Write the summary that `run_training` returns; `num_workers` are those of the last attempt."""
        if not self.writes:
            return
        self._board.close()
        for tracker in self._elsewhere:
            tracker.end()
        counts = {"num_steps": self.run.num_steps, "resumed_from_step": self.first_step, "num_workers": num_workers}
        (self.folder / SUMMARY).write_text(json.dumps(self.latest | counts, indent=1))
        self.save()


def _parameters(run) -> dict:
    """What identifies a training, for trackers elsewhere."""
    return {"init_checkpoint": run.init_checkpoint, "seed": run.seed, **run.method}


class _MlflowRun:
    """One MLflow run for one training, however often it is resumed: its id is kept beside the logs.

    A server that cannot be reached at the start fails the training; one that goes away later costs points of its curves.
    """

    def __init__(self, run, config: TrackingConfig, folder: Path) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=config.mlflow_tracking_uri)
        id_file = folder / "mlflow_run_id"
        if id_file.exists():
            self.run_id = id_file.read_text()
            return
        experiment = self.client.get_experiment_by_name(config.mlflow_experiment)
        experiment_id = (
            experiment.experiment_id if experiment else self.client.create_experiment(config.mlflow_experiment)
        )
        self.run_id = self.client.create_run(experiment_id, run_name=run.name).info.run_id
        for name, value in _parameters(run).items():
            self.client.log_param(self.run_id, name, value)
        id_file.write_text(self.run_id)

    def log(self, values: dict[str, float], step: int) -> None:
        with self._outages_warn():
            for name, value in values.items():
                self.client.log_metric(self.run_id, name, value, step=step)

    def pause(self) -> None:
        """Nothing to do: each metric was sent when it was logged, and the run goes on later."""

    def end(self) -> None:
        with self._outages_warn():
            self.client.set_terminated(self.run_id)

    @staticmethod
    @contextmanager
    def _outages_warn() -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            logger.warning("MLflow took no metrics (%s); training goes on, %s has them", error, CURVE)


class _WandbRun:
    """One Weights & Biases run for one training, however often it is resumed: its id is kept beside the logs.

    `WANDB_MODE` decides between online, offline and disabled. Of steps that run again after a crash its server
    leaves out what is not past the last step that it has; offline each process writes a file of its own, and both have
    them.
    """

    def __init__(self, run, config: TrackingConfig, folder: Path) -> None:
        import wandb

        id_file = folder / "wandb_run_id"
        if not id_file.exists():
            id_file.write_text(uuid.uuid4().hex[:8])
        self.run = wandb.init(
            project=config.wandb_project,
            entity=config.wandb_entity,
            id=id_file.read_text(),
            name=run.name,
            config=_parameters(run),
            dir=folder,
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(console="off"),  # a worker's output is Ray's
        )

    def log(self, values: dict[str, float], step: int) -> None:
        with self._outages_warn():
            self.run.log({f"train/{name}": value for name, value in values.items()}, step=step)

    def pause(self) -> None:
        """Wait until all that was logged has been written or sent."""
        self.end()

    def end(self) -> None:
        with self._outages_warn():
            self.run.finish()

    @staticmethod
    @contextmanager
    def _outages_warn() -> Iterator[None]:
        from wandb import Error

        try:
            yield
        except Error as error:
            logger.warning("Weights & Biases took no metrics (%s); training goes on, %s has them", error, CURVE)
