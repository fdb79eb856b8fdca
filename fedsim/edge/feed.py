"""The file of a run's events: written by the server's part, read by who started the run.

One JSON object a line, in the run's folder.  The last line says how the part ended, unless it
was killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from fedsim import errors
from fedsim.errors import FedsimError, Interrupted, RunError, ScenarioError
from fedsim.runlog import files, rounds
from fedsim.runlog.events import Data, Event, Note, ReferenceDone, RoundDone, Started
from fedsim.runlog.metric_info import metrics_written

__all__ = ["Ended", "Feed"]

_PLAIN = {kind.__name__: kind for kind in (Data, Note, ReferenceDone, Started)}


class Ended(Exception):
    """The server's part is over; ``error`` is None where it ended well."""

    def __init__(self, error: FedsimError | None, is_final: bool = True) -> None:
        self.error, self.is_final = error, is_final
        super().__init__(str(error))


class Feed:
    """The events of one attempt."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0
        self._stop = path.with_name("stop")

    def clear(self) -> None:
        """Forget what an earlier attempt wrote."""
        self._path.unlink(missing_ok=True)
        self._stop.unlink(missing_ok=True)
        self._read = 0

    def ask_to_stop(self) -> None:
        """Make the next :meth:`write` the last: what it tells of is on the disk."""
        self._stop.touch()

    def write(self, event: Event) -> None:
        """Add an event.

        Raises:
            Interrupted: if the run was asked to stop.
        """
        if isinstance(event, RoundDone):
            self._add({"kind": "RoundDone", "record": json.loads(rounds.encode(event.record))})
        elif type(event).__name__ in _PLAIN:
            self._add({"kind": type(event).__name__, **dict(vars(event))})
        if self._stop.exists():
            raise Interrupted("stopped")

    def end(self, error: BaseException | None) -> None:
        """Say that this is all, and why."""
        kind = type(error).__name__ if error else ""
        self._add({"kind": "Ended", "error": kind, "message": str(error) if error else ""})

    def events(self) -> Iterator[Event]:
        """Yield the events that were written since the last call.

        Raises:
            Ended: after the last one.
        """
        if not self._path.is_file():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                yield self._event(json.loads(line))

    def _event(self, values: dict[str, Any]) -> Event:
        kind = values.pop("kind")
        if kind == "Ended":
            raise _ended(values["error"], values["message"])
        if kind == "RoundDone":
            return RoundDone(rounds.decode(json.dumps(values["record"]).encode()))
        for field in fields(_PLAIN[kind]):
            if isinstance(values[field.name], list):
                values[field.name] = tuple(values[field.name])
            if field.name == "folder":
                values[field.name] = Path(values[field.name])
            if field.name == "metrics" and kind == "Started":
                values[field.name] = metrics_written(values[field.name])
        event: Event = _PLAIN[kind](**values)
        return event

    def _add(self, values: dict[str, Any]) -> None:
        files.append(self._path, json.dumps(files.plain(values)))


def _ended(name: str, message: str) -> Ended:
    """Return how it ended: an error that is none of fedsim's is the connection's, as a rule."""
    if not name:
        return Ended(None)
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, FedsimError)):
        return Ended(RunError(f"the server's part ended: {name}: {message}"), is_final=False)
    return Ended(RunError(message) if kind is ScenarioError else kind(message))
