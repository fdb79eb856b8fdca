"""Tables in Parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedsim.data.packages import needed_by
from fedsim.data.parquet_footer import read_footer
from fedsim.data.sources._columns import Columns
from fedsim.data.table_layout import TableHead

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Parquet"]


@dataclass(frozen=True)
class Parquet(Columns):
    """A Parquet file with a row per example; texts become categories, one-hot."""

    def read(self, path: Path) -> pd.DataFrame:
        """Return the table in ``path``.

        Raises:
            MissingPackage: if pyarrow is not installed.
        """
        with needed_by("source 'parquet'"):
            import pyarrow  # noqa: F401
        import pandas as pd

        return pd.read_parquet(path, engine="pyarrow")

    def head(self, path: Path) -> TableHead:
        """Return the columns and the number of rows that the footer says."""
        footer = read_footer(path)
        return TableHead(footer.columns, footer.rows)
