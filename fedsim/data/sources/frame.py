"""Your own pandas ``DataFrame``, from a function in a Python file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim.data.header import Header
from fedsim.data.packages import needed_by
from fedsim.data.sources._columns import Columns
from fedsim.data.user_source import check_functions, results_of

if TYPE_CHECKING:
    from fedsim.data.dataset import Dataset

__all__ = ["Frame"]


@dataclass(frozen=True)
class Frame(Columns):
    """A function that returns a table with a row per example; texts become categories, one-hot.

    ``path`` is the function, ./file.py:NAME, and ``test`` that of the test split, if there is one.
    It is called once, before round 1, and what it gives is stored.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    """What it is given by keyword; seed and folder too, if it has parameters called so."""

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the rows of what the function gives as examples.

        Raises:
            DataError: if there is no such function, it raises, returns something else, or a column
                is not there or holds what cannot be learnt from.
            MissingPackage: if pandas is not installed.
        """
        with needed_by("source 'frame'"):
            import pandas as pd  # noqa: F401
        from fedsim.data.user_frames import read_frames

        return read_frames(self, results_of(self, seed, folder))

    def peek(self, folder: Path) -> Header:
        """Return what the scenario says: the function's file is read, and not run.

        Raises:
            DataError: if the function is not there, or does not take the arguments.
        """
        check_functions(self, folder)
        return Header(
            fields=self._fields({"any": "text", "other": "float64"}),
            test_rows=0 if self.test is None and self.split is None else None,
            has_clients=self.client is not None,
            has_domains=self.domain is not None,
        )
