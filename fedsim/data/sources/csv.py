"""Tables in comma-separated files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedsim.data.sources._columns import Columns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Csv"]


@dataclass(frozen=True)
class Csv(Columns):
    """A comma-separated file with a row per example; texts become categories, one-hot."""

    def read(self, path: Path) -> pd.DataFrame:
        """Return the table in ``path``; its first line names the columns."""
        import pandas as pd

        return pd.read_csv(path, skipinitialspace=True)
