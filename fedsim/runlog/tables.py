"""The lines of ``tables.jsonl``: numbers of each round that a strategy wants to be looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsim.errors import RunFolderError
from fedsim.runlog import files
from fedsim.wire import Weights

__all__ = ["append", "read"]

NAME = "tables.jsonl"


def append(folder: Path, number: int, tables: Mapping[str, Weights]) -> None:
    """Add the tables of round ``number``, if there are any; those of a redone round come again.

    Raises:
        RunError: if the disk is full.
    """
    if tables:
        plain = {
            table: {name: tensor.tolist() for name, tensor in rows.items()}
            for table, rows in tables.items()
        }
        line = json.dumps(files.plain({"round": number, **plain}), allow_nan=False)
        files.append(folder / NAME, line)


def read(folder: Path, name: str) -> dict[int, dict[str, Any]]:
    """Return one table by round, from every line that is whole; empty where there is none.

    Raises:
        RunFolderError: if a line before the last is damaged.
    """
    path = folder / NAME
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
    try:
        rows = [json.loads(line) for line in lines]
        return {row["round"]: row[name] for row in rows if name in row}
    except (ValueError, TypeError, KeyError) as error:
        raise RunFolderError(f"{path} is damaged: {error}") from error
