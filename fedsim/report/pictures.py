"""What clients sent as images: the last picture of a run, to stand in the page."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from fedsim.analysis.collect import Collection

__all__ = ["Picture", "pictures_of"]

MOST = 1_200_000
"""Bytes of all pictures together: the page stays small enough to be sent by mail."""


@dataclass(frozen=True)
class Picture:
    """A picture of what clients sent in one run's last round."""

    level: str
    setting: str
    seed: int
    round: int
    base64: str
    """A PNG."""


def pictures_of(collection: Collection) -> list[Picture]:
    """Return the last picture of each level in each setting, of its first seed that has one."""
    by_cell: dict[tuple[str, str], Picture] = {}
    left = MOST
    for trial in sorted(collection.trials, key=lambda run: run.seed):
        key = (trial.level, trial.setting)
        last = sorted((trial.folder.path / "pictures").glob("round_*.png"))[-1:]
        if key in by_cell or not last or (size := last[0].stat().st_size) > left:
            continue
        left -= size
        number = int(last[0].stem.partition("_")[2])
        text = base64.b64encode(last[0].read_bytes()).decode()
        by_cell[key] = Picture(*key, trial.seed, number, text)
    cells = [(level, setting) for setting in collection.settings for level in collection.levels]
    return [by_cell[cell] for cell in cells if cell in by_cell]
