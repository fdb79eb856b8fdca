"""What the folder of a run on devices holds besides a run's own files: ``edge/``."""

from __future__ import annotations

from fedsim.edge.feed import Feed
from fedsim.errors import RunFolderError
from fedsim.runlog.run_folder import RunFolder

__all__ = ["APP", "FEED", "RUN", "feed_of", "is_on_devices", "measures"]

RUN, FEED, APP = "edge/run.json", "edge/feed.jsonl", "edge/app"
"""Which run it is and on whose devices; the events of the last attempt; what Flower is given."""


def is_on_devices(folder: RunFolder) -> bool:
    """Return whether the run in ``folder`` is one on devices."""
    return (folder.path / RUN).is_file()


def measures(folder: RunFolder) -> bool:
    """Return whether the run in ``folder`` measures the devices and trains nothing."""
    return bool((folder.read_json(RUN) or {}).get("measures"))


def feed_of(folder: RunFolder, run: str) -> Feed:
    """Return where the server's part of ``run`` writes its events.

    Raises:
        RunFolderError: if the folder is that of another run.
    """
    attempt = folder.read_json(RUN) or {}
    if attempt.get("run") != run:
        raise RunFolderError(f"{folder.path} is not the folder of this run")
    return Feed(folder.path / FEED)
