"""Public data sets by name, once ``fedsim data get`` has downloaded them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedsim.data.catalogue_entries import entry_named, local_files
from fedsim.data.header import FieldSpec, Header
from fedsim.data.missing import Missing
from fedsim.errors import DataError

if TYPE_CHECKING:
    from fedsim.data.dataset import Dataset

__all__ = ["Catalogue"]


@dataclass(frozen=True)
class Catalogue:
    """A data set that ``fedsim data list`` shows; a run never downloads it."""

    dataset: str
    """Its name, such as adult."""
    client: str | None = None
    """Column of a table that names each example's client; null: as the catalogue says."""
    missing: Missing | None = None
    """What an absent number of a table becomes; null: as the catalogue says."""

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the data set; both arguments are of no account.

        Raises:
            DataError: if it is not here, or is not what was downloaded.
            MissingPackage: if reading it needs a package that is not installed.
        """
        from fedsim.data.catalogue_reading import read_entry

        entry = entry_named(self.dataset)
        self._refuse_columns(entry.reader)
        return read_entry(entry, local_files(entry), self.client, self.missing)

    def peek(self, folder: Path) -> Header:
        """Return what the catalogue says, once the files are here.

        Raises:
            DataError: if there is no such data set, or it is not here.
        """
        entry = entry_named(self.dataset)
        self._refuse_columns(entry.reader)
        local_files(entry, is_checked=False)
        is_image = entry.shape is not None and len(entry.shape) == 3
        kind, dtype = ("image", "uint8") if is_image else ("numeric", "float32")
        is_amount = entry.task == "regression"
        return Header(
            fields={"inputs": FieldSpec(dtype, entry.shape, kind)},
            targets=FieldSpec("float32") if is_amount else FieldSpec("int64", (), "classes"),
            rows=entry.rows,
            test_rows=entry.test_rows,
            classes=len(entry.class_names) or None,
            class_names=entry.class_names,
            has_clients=entry.has_clients or self.client is not None,
            has_domains=False,
        )

    def _refuse_columns(self, reader: str) -> None:
        for parameter in ("client", "missing"):
            if reader != "table" and getattr(self, parameter) is not None:
                raise DataError(f"{self.dataset} is no table: it has no columns", parameter)
