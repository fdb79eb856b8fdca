"""Trackers that a run also reports to: TensorBoard, MLflow and Weights & Biases, or your own.

``rounds.jsonl`` is always written; a tracker is a copy for whoever watches elsewhere, so one that
fails is left out and the run goes on.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from fedsim.errors import MissingPackage
from fedsim.runlog.events import Event, Note, Result, RoundDone, RoundRecord, Watch
from fedsim.runlog.run_folder import RunFolder

__all__ = ["Mlflow", "Tensorboard", "Tracker", "Wandb", "scalars", "tracked"]


class Tracker(Protocol):
    """Somewhere a run's numbers go, besides its folder.

    It is built without arguments before anything runs, and is told nothing of clients' data.
    """

    def start(self, scenario: Mapping[str, Any], folder: Path) -> None:
        """Begin, or go on with what was begun for the same folder.

        Args:
            scenario: with nothing implicit left, as plain values.
            folder: the run's.
        """
        ...

    def round(self, record: RoundRecord) -> None:
        """Take a finished round; rounds after the last checkpoint come again after a resume."""
        ...

    def finish(self, result: Result | None) -> None:
        """End; without a result the run was cut off and may be resumed."""
        ...


def scalars(record: RoundRecord) -> dict[str, float]:
    """Return the numbers of a round under names with a slash; what was not taken is absent."""
    groups = {
        "server": record.metrics,
        "train": record.train,
        "clients": record.clients,
        "domains": record.domains,
    }
    inner = {f"{group}/{name}": v for group, some in groups.items() for name, v in some.items()}
    return {
        **inner,
        "cost/bytes_up": record.bytes_up,
        "cost/bytes_down": record.bytes_down,
        "cost/seconds": record.seconds,
        "cost/dropped": len(record.dropped),
    }


@contextmanager
def tracked(
    trackers: Mapping[str, Tracker], scenario: Mapping[str, Any], folder: RunFolder, watch: Watch
) -> Iterator[Watch]:
    """Give a watcher that tells ``watch`` everything and the trackers the rounds.

    Args:
        trackers: by the names that a Note calls them.
        scenario: with nothing implicit left, as plain values.
        folder: the run's; where it holds a result at the end, the run is finished.
        watch: is told, once, of a tracker that failed and is left out.
    """
    living = dict(trackers)

    def tell(step: Callable[[Tracker], None]) -> None:
        for name, tracker in list(living.items()):
            try:
                step(tracker)
            except Exception as error:  # a tracker is code and a network that fedsim knows not
                del living[name]
                why = " ".join(f"{type(error).__name__}: {error}".split())
                watch(Note(f"the tracker {name} failed and is left out: {why}"))

    def watched(event: Event) -> None:
        watch(event)
        if isinstance(event, RoundDone):
            tell(lambda tracker: tracker.round(event.record))

    try:
        tell(lambda tracker: tracker.start(scenario, folder.path))
        yield watched
    finally:
        tell(lambda tracker: tracker.finish(folder.result()))


class Tensorboard:
    """Curves for TensorBoard, in the run's folder ``tensorboard``."""

    def __init__(self) -> None:
        self._package = _imported("torch.utils.tensorboard", "tensorboard")
        self._folder = Path()
        self._said: dict[str, Any] = {}
        self._writer: Any = None

    def start(self, scenario: Mapping[str, Any], folder: Path) -> None:
        """Remember where; see :meth:`Tracker.start`."""
        self._folder, self._said = folder / "tensorboard", dict(_flat(scenario))

    def round(self, record: RoundRecord) -> None:
        """Write the round's numbers; see :meth:`Tracker.round`."""
        if self._writer is None:  # The first round is known now: what came after it is redone.
            self._writer = self._package.SummaryWriter(self._folder, purge_step=record.round)
            self._tell_parameters(next(iter(record.metrics), "accuracy"))
        for name, value in scalars(record).items():
            self._writer.add_scalar(name, value, record.round)
        self._writer.flush()

    def _tell_parameters(self, primary: str) -> None:
        """Write the scenario's values for the page HParams, against the primary metric's curve."""
        from torch.utils.tensorboard.summary import hparams

        plain = {
            key: value if isinstance(value, (bool, int, float)) else str(value)
            for key, value in self._said.items()
        }
        summaries: Any = hparams  # without types of its own
        for summary in summaries(plain, {f"server/{primary}": 0.0}):
            self._writer.file_writer.add_summary(summary)

    def finish(self, result: Result | None) -> None:
        """Close the file; see :meth:`Tracker.finish`."""
        if self._writer is not None:
            self._writer.close()


class Mlflow:
    """A run of MLflow, in the run's folder, or where ``MLFLOW_TRACKING_URI`` says."""

    def __init__(self) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import reads it
        self._package = _imported("mlflow.tracking", "mlflow")
        self._client: Any = None
        self._run = ""

    def start(self, scenario: Mapping[str, Any], folder: Path) -> None:
        """Begin a run in the experiment of the scenario's name; see :meth:`Tracker.start`."""
        local = None if "MLFLOW_TRACKING_URI" in os.environ else folder.absolute()
        uri = f"sqlite:///{local / 'mlflow.db'}" if local else None
        self._client = self._package.MlflowClient(tracking_uri=uri)
        run_file = folder / "mlflow.run"
        if run_file.is_file():
            self._run = run_file.read_text()
            # A run may be given more rounds, and MLflow's parameters cannot be changed.
            self._client.set_tag(self._run, "rounds", str(scenario["rounds"]))
            return
        name = str(scenario["name"])
        existing = self._client.get_experiment_by_name(name)
        place = (local / "mlflow").as_uri() if local else None
        experiment = (
            existing.experiment_id if existing else self._client.create_experiment(name, place)
        )
        self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
        for key, value in _flat(scenario):
            self._client.log_param(self._run, key, str(value)[:500])
        run_file.write_text(self._run)

    def round(self, record: RoundRecord) -> None:
        """Log the round's numbers; see :meth:`Tracker.round`."""
        for name, value in scalars(record).items():
            self._client.log_metric(self._run, name, value, step=record.round)

    def finish(self, result: Result | None) -> None:
        """Say how it ended; see :meth:`Tracker.finish`."""
        if result is not None:
            for name, value in result.metrics.items():
                self._client.log_metric(self._run, f"result/{name}", value)
        self._client.set_terminated(self._run, "KILLED" if result is None else "FINISHED")


class Wandb:
    """A run of Weights & Biases: offline, in the run's folder, unless ``WANDB_MODE`` says else."""

    def __init__(self) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # before the import reads it
        self._package = _imported("wandb", "wandb")
        self._run: Any = None

    def start(self, scenario: Mapping[str, Any], folder: Path) -> None:
        """Begin a run, or go on with the folder's; see :meth:`Tracker.start`."""
        mode = os.environ.get("WANDB_MODE", "offline")
        self._run = self._package.init(
            project=os.environ.get("WANDB_PROJECT", "fedsim"),
            name=str(scenario["name"]),
            id=hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16],
            config=dict(scenario),
            dir=str(folder),
            mode=mode,
            settings={"console": "off", "silent": True},  # the screen is fedsim's
            resume="allow" if mode == "online" else None,
        )

    def round(self, record: RoundRecord) -> None:
        """Log the round's numbers; see :meth:`Tracker.round`."""
        self._run.log(scalars(record), step=record.round)

    def finish(self, result: Result | None) -> None:
        """Close the run; see :meth:`Tracker.finish`."""
        if result is not None:
            self._run.summary.update({f"result/{k}": v for k, v in result.metrics.items()})
        self._run.finish(exit_code=int(result is None))


def _imported(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        command = f'pip install "fedsim[{extra}]"'
        raise MissingPackage(f"tracking needs the package {extra}: {command}") from error


def _flat(nested: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what ``said`` holds under dotted keys."""
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
