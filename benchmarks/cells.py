"""What a benchmark of many runs knows already: one line a cell, so that a second start goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any


class Results:
    """Runs each cell once, and keeps what it came to in ``results.jsonl``."""

    def __init__(self, out: Path, measured: Callable[[Any], dict[str, Any]]) -> None:
        """Read what is known.

        Args:
            out: the folder; made if need be.
            measured: runs a cell, a dataclass, and returns what it came to.
        """
        out.mkdir(parents=True, exist_ok=True)
        self._path, self._measured = out / "results.jsonl", measured
        lines = self._path.read_text().splitlines() if self._path.is_file() else []
        self._known = {json.dumps(row["cell"]): row for row in map(json.loads, lines)}

    def of(self, cell: Any) -> dict[str, Any]:
        """Return the cell's result, running it if need be."""
        key = json.dumps(asdict(cell))
        if key not in self._known:
            row = {"cell": asdict(cell), **self._measured(cell)}
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            self._known[key] = row
            numbers = (f"{k}={v:.4g}" for k, v in row.items() if isinstance(v, int | float))
            print(key, *numbers, flush=True)
        return self._known[key]
