"""Tables of the catalogue as examples: members of archives, one beneath the other."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fedsim.data.catalogue_entries import CatalogueEntry
from fedsim.data.dataset import Dataset
from fedsim.data.missing import Missing
from fedsim.data.table_layout import TableLayout
from fedsim.data.table_reading import frame_dataset
from fedsim.errors import DataError

__all__ = ["read_tables"]


def read_tables(
    entry: CatalogueEntry, files: Mapping[str, Path], client: str | None, missing: Missing | None
) -> Dataset:
    """Return the tables of an entry as one data set; arguments as of ``read_entry``.

    Raises:
        DataError: if a table or a column is not there.
    """
    layout = entry.layout
    splits: dict[str, list[pd.DataFrame]] = {"train": [], "test": []}
    for table in layout["tables"]:
        frame = _with_label(_frame(table, layout, files), layout)
        splits[table.get("split", "train")].append(frame)
    label = layout["label"]
    train = pd.concat(splits["train"], ignore_index=True)
    test = pd.concat(splits["test"], ignore_index=True) if splits["test"] else None
    if entry.task == "regression":  # whole numbers are amounts all the same
        train = train.astype({label: np.float32})
    spec = TableLayout(
        path=entry.name,
        label=label,
        client=client or layout.get("client"),
        categorical=tuple(layout.get("categorical", ())),
        missing=missing or layout.get("missing", "error"),
    )
    spec.check_names([*train.columns])
    return frame_dataset(spec, train, test)


def _frame(
    table: Mapping[str, Any], layout: Mapping[str, Any], files: Mapping[str, Path]
) -> pd.DataFrame:
    """Return one table, with the columns that all of its rows have in common."""
    content = _content(table["file"], files)
    frame: pd.DataFrame = pd.read_csv(
        io.BytesIO(content),
        sep=layout.get("separator", ","),
        header=None if "names" in layout else 0,
        names=_names(layout),
        skiprows=table.get("skip", 0),
        skipinitialspace=True,
        na_values=["?"],
        compression="gzip" if table["file"].endswith(".gz") else None,
    )
    frame = frame.drop(columns=layout.get("left_out", []))
    values: dict[str, str] = table.get("values", {})
    for column, value in values.items():
        frame[column] = value
    return frame


def _names(layout: Mapping[str, Any]) -> list[str] | None:
    """Return the names of a table without a head, those of numbered columns written out."""
    if "names" not in layout:
        return None
    numbered = layout.get("numbered", {})
    return [
        column
        for name in layout["names"]
        for column in (
            [f"{name}_{k + 1}" for k in range(numbered[name])] if name in numbered else [name]
        )
    ]


def _content(name: str, files: Mapping[str, Path]) -> bytes:
    """Return what a file holds, which lies in the data set's archive or is one of its files."""
    if name in files:
        return files[name].read_bytes()
    (archive,) = files.values()
    with zipfile.ZipFile(archive) as members:
        if name not in members.namelist():
            raise DataError(f"it holds no file {name}; there are {', '.join(members.namelist())}")
        return members.read(name)


def _with_label(frame: pd.DataFrame, layout: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table with its label as it is learnt."""
    name = layout["label"]
    if name not in frame.columns:
        raise DataError(f"no column '{name}'; there are {', '.join(frame.columns)}")
    label = frame[name]
    if "label_strip" in layout:  # the two files of one data set write it in two ways
        label = label.str.rstrip(layout["label_strip"])
    if "label_above" in layout:
        label = (label > layout["label_above"]).astype(np.int64)
    if "label_from" in layout:
        label = label - layout["label_from"]
    return frame.assign(**{name: label})
