"""The file ``timeline.json``: when each client of a run's last round worked, and where."""

from __future__ import annotations

from collections.abc import Iterable

from fedsim.runlog.run_folder import RunFolder
from fedsim.wire import TraceEntry

__all__ = ["NAME", "write_trace"]

NAME = "timeline.json"
MOST = 2_000
"""Turns that are kept; a longer round's first ones."""


def write_trace(folder: RunFolder, number: int, stints: Iterable[TraceEntry]) -> None:
    """Write the turns of round ``number``, from its first one's start on; nothing without any.

    Raises:
        RunError: if the disk is full.
    """
    entries = sorted(stints, key=lambda entry: entry.start)[:MOST]
    if entries:
        workers = {who: place for place, who in enumerate(sorted({s.worker for s in entries}))}
        rows = [
            (s.phase, s.client, workers[s.worker], s.start - entries[0].start, s.seconds)
            for s in entries
        ]
        columns = ("phase", "client", "worker", "start", "seconds")
        folder.write(NAME, {"round": number, "columns": columns, "turns": rows})
