"""Tables in comma-separated files."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fedsim.data.sources._columns import Columns
from fedsim.data.table_layout import TableHead
from fedsim.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Csv"]

_LINES = 100
"""From which the kinds of columns are guessed before the file is read."""
_ABSENT = {"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a"}


@dataclass(frozen=True)
class Csv(Columns):
    """A comma-separated file with a row per example; texts become categories, one-hot."""

    def read(self, path: Path) -> pd.DataFrame:
        """Return the table in ``path``; its first line names the columns."""
        import pandas as pd

        return pd.read_csv(path, skipinitialspace=True)

    def head(self, path: Path) -> TableHead:
        """Return the columns of the first line, and of which kind 100 lines let them look."""
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, skipinitialspace=True)
            names = next(lines, None)
            if not names:
                raise DataError("it is empty; the first line names the columns")
            rows = [*islice(lines, _LINES)]
        return TableHead(
            {
                name or f"Unnamed: {place}": _kind(row[place] for row in rows if place < len(row))
                for place, name in enumerate(names)
            }
        )


def _kind(cells: Iterable[str]) -> str:
    present = [cell.strip() for cell in cells if cell.strip().lower() not in _ABSENT]
    for name, kind in (("int64", int), ("float64", float)):
        try:
            for cell in present:
                kind(cell)
        except ValueError:
            continue
        return name
    return "text"
