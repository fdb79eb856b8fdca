"""The folder of one run: where everything it leaves behind is, and how it is written.

::

    runs/NAME/2026-11-20_101500_a1b2c3/     and  runs/NAME/latest -> the newest
        scenario.resolved.yaml  manifest.json  rounds.jsonl  clients.parquet  result.json
        partition.json  partition.svg  model.safetensors  best.safetensors  events.log
        checkpoints/round_0010/  data/

Files are replaced by rename and ``rounds.jsonl`` grows by whole lines, so a run that is killed
at any moment is readable and can be resumed.  What state a run is in follows from its files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from fedsim.errors import RunFolderError
from fedsim.runlog import clients, files, lock, runs
from fedsim.runlog.clients import ClientRow
from fedsim.runlog.events import Result, RoundRecord
from fedsim.runlog.metric_info import MetricInfo, metrics_written
from fedsim.runlog.results import result_from, result_to
from fedsim.runlog.rounds import decode, encode
from fedsim.runlog.runs import SCENARIO, link_target, point_link
from fedsim.wire import Weights

__all__ = ["BEST", "MODEL", "RunFolder", "Status"]

MODEL, BEST = "model.safetensors", "best.safetensors"

Status = Literal["finished", "interrupted", "running", "damaged"]


@dataclass(frozen=True)
class RunFolder:
    """A run on disk."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """Make the folder ``path``, exactly there.

        Raises:
            RunFolderError: if something is there already.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            used = any(entry.name != lock.NAME for entry in path.iterdir())
        except OSError as error:
            raise RunFolderError(f"cannot make {path}: {error.strerror}") from error
        if (path / SCENARIO).is_file():
            raise RunFolderError(f"{path} holds a run; go on with: fedsim resume {path}")
        if used:
            raise RunFolderError(f"{path} is not empty; name a new folder")
        return cls(path)

    @classmethod
    def new(cls, parent: Path, name: str, digest: str) -> RunFolder:
        """Make ``parent/name/DATE_TIME_HASH`` and point ``parent/name/latest`` to it.

        Args:
            parent: the scenario's ``output.dir``.
            name: the scenario's name.
            digest: the scenario's SHA-256 in hexadecimal; its first six digits are used.

        Raises:
            RunFolderError: if the disk refuses the folder.
        """
        stamp = f"{datetime.now():%Y-%m-%d_%H%M%S}_{digest[:6]}"
        for attempt in range(1, 1000):
            path = parent / name / (stamp if attempt == 1 else f"{stamp}-{attempt}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue  # the same scenario was started within the same second
            except OSError as error:
                raise RunFolderError(f"cannot make {path}: {error.strerror}") from error
            point_link(parent / name / "latest", path.name)
            return cls(path)
        raise RunFolderError(f"cannot find a free name in {parent / name}")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a run: its folder, a ``latest`` link, or the folder of runs that holds one.

        Raises:
            RunFolderError: if there is no run; says which are near.
        """
        folder = path if (path / SCENARIO).is_file() else path / "latest"
        if (folder / SCENARIO).is_file():
            return cls(link_target(folder))
        what = "is not a run: it has no " + SCENARIO if path.exists() else "does not exist"
        raise RunFolderError(f"{path} {what}; {runs.similar_runs(path)}")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; the lock goes with the process, however it ends.

        Raises:
            RunFolderError: if another process holds it; says which, at once.
        """
        with lock.hold(self.path):
            for left_over in self.path.glob(".*.tmp"):  # by a process that was killed
                left_over.unlink()
            yield

    def forget(self) -> None:
        """Let the folder be no run any more: ``latest`` points to the newest of the others."""
        self.scenario.unlink(missing_ok=True)
        runs.unlink_latest(self.path)

    def status(self) -> Status:
        """Return what state the run is in."""
        if lock.is_held(self.path):
            return "running"
        try:
            self.rounds()
            finished = self.result() is not None
        except RunFolderError:
            return "damaged"
        return "finished" if finished else "interrupted"

    def write(self, name: str, content: str | bytes | object) -> None:
        """Write a file by rename: text, bytes, or anything else as JSON (NaN becomes null).

        Raises:
            RunError: if the disk is full or refuses the file.
        """
        files.write(self.path / name, content)

    def read_json(self, name: str) -> Any:
        """Return what ``name`` holds, or None where it is absent.

        Raises:
            RunFolderError: if the file is not JSON.
        """
        try:
            return json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.path / name} cannot be read: {error}") from error

    def read_scenario(self) -> dict[str, Any]:
        """Return what ``scenario.resolved.yaml`` says, unchecked; empty where it is unreadable."""
        import yaml

        try:
            content = yaml.safe_load(self.scenario.read_bytes())
        except (OSError, ValueError, yaml.YAMLError):
            return {}
        return content if isinstance(content, dict) else {}

    def write_weights(self, weights: Weights, name: str = MODEL) -> None:
        """Write weights, the final ones unless ``name`` says others, as :meth:`write` does."""
        from safetensors.torch import save

        self.write(name, save(dict(weights)))

    @property
    def scenario(self) -> Path:
        """The scenario with nothing left implicit."""
        return self.path / SCENARIO

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are kept."""
        return self.path / "checkpoints"

    @property
    def store(self) -> Path:
        """Where the prepared data is kept."""
        return self.path / "data"

    def metrics(self) -> tuple[MetricInfo, ...]:
        """Return what is measured in this run, the primary metric first."""
        return metrics_written(self.read_json("metrics.json"))

    def result(self) -> Result | None:
        """Return the result, or None where the run is not finished.

        Raises:
            RunFolderError: if ``result.json`` is damaged.
        """
        fields = self.read_json("result.json")
        try:
            return None if fields is None else result_from(fields)
        except (TypeError, KeyError) as error:
            raise RunFolderError(f"{self.path / 'result.json'} is no result: {error}") from error

    def write_result(self, result: Result) -> None:
        """Write ``result.json``, as :meth:`write` does: the run is finished."""
        self.write("result.json", result_to(result))

    def append_round(self, record: RoundRecord) -> None:
        """Add a finished round; it is on the disk when this returns.

        Raises:
            RunError: if the disk is full.
        """
        files.append(self.path / "rounds.jsonl", encode(record))

    def rounds(self) -> list[RoundRecord]:
        """Return the finished rounds in order; a last line that was torn is left out.

        Raises:
            RunFolderError: if a line before the last is damaged.
        """
        path = self.path / "rounds.jsonl"
        # What follows the last newline was never finished.
        lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
        try:
            return [decode(line) for line in lines]
        except ValueError as error:
            raise RunFolderError(f"{path} is damaged: {error}") from error

    def truncate_rounds(self, after: int) -> None:
        """Forget the rounds after ``after``, and a torn line: they are about to be redone.

        Raises:
            RunFolderError: if a line before the last is damaged.
            RunError: if the disk is full.
        """
        lines = [encode(record) + "\n" for record in self.rounds() if record.round <= after]
        self.write("rounds.jsonl", "".join(lines))

    def append_clients(self, rows: Sequence[ClientRow]) -> None:
        """Add one evaluation on the clients to ``clients.parquet``.

        Raises:
            MissingPackage: if pyarrow is absent.
            RunError: if the disk is full.
        """
        clients.append(self.path / "clients.parquet", rows)

    def log(self, text: str) -> None:
        """Add a line with the time (UTC) to ``events.log``.

        Raises:
            RunError: if the disk is full.
        """
        files.append(self.path / "events.log", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}")
