"""Runs and studies as pandas data frames: for notebooks, and for CSV files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim.analysis.collect import Collection, Trial, collect
from fedsim.errors import MissingPackage

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Frames", "frames_of", "load"]


@dataclass(frozen=True)
class Frames:
    """What one run, or every run of a study, left behind."""

    cells: pd.DataFrame
    """A row for each run: its level, setting, seed, status and result."""
    rounds: pd.DataFrame
    """A row for each round of each run; the clients' means have columns of their own."""
    clients: pd.DataFrame
    """A row for each client and evaluation, as in ``clients.parquet``; may be empty."""


def load(run: str | Path) -> Frames:
    """Return a run, or all runs of a study, as data frames.

    >>> load("runs/study_quick").cells.groupby("strategy").accuracy.mean()  # doctest: +SKIP

    Args:
        run: a run's folder, a folder of runs, or a study's.

    Raises:
        MissingPackage: if pandas is not installed.
        RunFolderError: if there is no finished run.
    """
    return frames_of(collect([Path(run)]))


def frames_of(collection: Collection) -> Frames:
    """Return the trials of ``collection`` as data frames.

    Raises:
        MissingPackage: if pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingPackage(
            "data frames need pandas; install it with: pip install 'fedsim[sim]'"
        ) from error
    cells = pd.DataFrame([_cell(cell, collection.axis) for cell in collection.trials])
    rounds = pd.DataFrame([row for cell in collection.trials for row in _rounds(cell, collection)])
    clients = []
    for trial in collection.trials:
        path = trial.folder.path / "clients.parquet"
        if path.is_file():
            frame = pd.read_parquet(path)
            for at, (name, value) in enumerate(_key(trial, collection.axis).items()):
                frame.insert(at, name, value)
            clients.append(frame)
    joined = pd.concat(clients, ignore_index=True) if clients else pd.DataFrame()
    return Frames(cells, rounds, joined)


def _key(trial: Trial, axis: str) -> dict[str, Any]:
    return {
        "run": trial.name,
        axis: trial.level,
        "setting": trial.setting,
        "seed": trial.seed,
    }


def _cell(trial: Trial, axis: str) -> dict[str, Any]:
    columns = asdict(trial.result) if trial.result else {}
    for name in ("references", "targets"):
        for inner, value in (columns.pop(name, None) or {}).items():
            columns |= {f"{name}_{inner}_{key}": entry for key, entry in value.items()}
    columns.pop("strategy", None)
    if columns:
        columns = {"rounds": columns.pop("rounds"), **columns.pop("metrics"), **columns}
    return _key(trial, axis) | {"status": trial.status, "why": trial.why} | columns


def _rounds(trial: Trial, collection: Collection) -> Iterator[dict[str, Any]]:
    for record in trial.records:
        row: dict[str, Any] = {**_key(trial, collection.axis), "round": record.round}
        row |= {info.name: record.metrics.get(info.name) for info in collection.metrics}
        row |= {"cohort": len(record.cohort), "dropped": len(record.dropped)}
        row |= {f"train_{name}": value for name, value in record.train.items()}
        row |= {f"clients_{name}": value for name, value in record.clients.items()}
        traffic = {"bytes_up": record.bytes_up, "bytes_down": record.bytes_down}
        yield row | traffic | {"seconds": record.seconds}
