"""A table file by the names of its columns: what ``csv`` and ``parquet`` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedsim.data.header import FieldSpec, Header
from fedsim.data.packages import needed_by
from fedsim.data.reading import reading
from fedsim.data.table_layout import Planned, TableHead, TableLayout, list_fault
from fedsim.errors import DataError

if TYPE_CHECKING:
    from fedsim.data.dataset import Array, Dataset

__all__ = ["Columns"]


@dataclass(frozen=True)
class Columns(TableLayout):
    """A table with a row per example; texts become categories, one-hot."""

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the rows as examples; ``seed`` is of no account.

        Raises:
            DataError: if a file or a column is not there, or holds what cannot be learnt from.
            MissingPackage: if pandas is not installed.
        """
        with needed_by(f"source '{type(self).__name__.lower()}'"):
            import pandas as pd  # noqa: F401
        from fedsim.data.table_reading import read_table

        return read_table(self, folder)

    def peek(self, folder: Path) -> Header:
        """Return what the first lines, or the footer, tell.

        Raises:
            DataError: if a file or a column is not there, or cannot be learnt from.
        """
        head = self._head(folder / self.path)
        test_rows: int | None = 0
        if self.test is not None:
            test_rows = self._head(folder / self.test).rows
        features = self.chosen(head.columns)
        return Header(
            fields=self._fields({name: head.columns[name] for name in features}),
            targets=self._targets([head.columns[name] for name in self.labels]),
            rows=head.rows,
            test_rows=test_rows,
            columns=tuple(features),
            has_clients=self.client is not None,
            has_domains=self.domain is not None,
        )

    def plan(self, folder: Path) -> list[Planned]:
        """Return how each column becomes numbers, so that another table becomes the same.

        Raises:
            DataError: as :meth:`load`.
        """
        from fedsim.data.table_plan import plan_of

        return plan_of(self, folder)

    def follow(self, plan: Sequence[Planned], folder: Path) -> tuple[Array, Array, Array | None]:
        """Return inputs, ``(n, width)``, labels and weights of this table, as ``plan`` says.

        Raises:
            DataError: if a column of the plan is absent, or holds what the plan does not know.
        """
        from fedsim.data.table_plan import followed

        return followed(self, plan, folder)

    def _head(self, path: Path) -> TableHead:
        with reading(path):
            head = self.head(path)
            self.check_names(head.columns)
            for name in self.chosen(head.columns):
                if head.columns[name] == "list":
                    raise DataError(list_fault(name), "features")
            return head

    def _fields(self, kinds: Mapping[str, str]) -> dict[str, FieldSpec]:
        """Return the inputs, of columns of these kinds."""
        if self.inputs_as == "columns":
            return {"inputs": FieldSpec("float32", None)}
        texts = [n for n, kind in kinds.items() if kind == "text" or n in self.categorical]
        fields = {"numeric": FieldSpec("float32", None)} if len(texts) < len(kinds) else {}
        return fields | ({"category": FieldSpec("int64", None)} if texts else {})

    def _targets(self, kinds: Sequence[str]) -> FieldSpec:
        shape = () if isinstance(self.label, str) else (len(kinds),)
        if any(kind.startswith("float") for kind in kinds):
            return FieldSpec("float32", shape)
        return FieldSpec("text" if "text" in kinds else "int64", shape, "classes")
