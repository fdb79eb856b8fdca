"""The evaluations on every client: the rows of ``clients.parquet``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fedsim.errors import MissingPackage
from fedsim.runlog.files import replace

__all__ = ["ClientRow", "append", "keep", "traffic"]

_BATCH = 65_536
"""Rows that are in memory at a time while the file is copied."""


@dataclass(frozen=True)
class ClientRow:
    """How the model did on one client's test part after one round."""

    round: int
    client: int
    domain: str
    examples: int
    metrics: Mapping[str, float]
    """A column each, by the metric's name; NaN where it is undefined."""
    seconds: float
    bytes_up: int
    bytes_down: int


def append(path: Path, rows: Sequence[ClientRow]) -> None:
    """Add one round's ``rows``; rows of the same or a later round are replaced.

    The file is copied batch by batch and renamed, so it is readable at any time, a round that
    is redone after a crash is in it once, and memory does not grow with it.

    Raises:
        MissingPackage: if pyarrow is absent.
        RunError: if the disk is full.
    """
    if not rows:
        return
    try:
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingPackage(
            "clients.parquet needs pyarrow; install it with: pip install 'fedsim[sim]'"
        ) from error
    columns = {name: [_cell(row, name) for row in rows] for name in _names(rows[0])}
    schema = pa.schema([(name, _arrow(pa, cells[0])) for name, cells in columns.items()])
    with replace(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        if path.is_file():
            for batch in pq.ParquetFile(path).iter_batches(_BATCH):
                writer.write_batch(batch.filter(pc.field("round") < min(columns["round"])))
        writer.write_table(pa.table(columns, schema=schema))


def keep(path: Path, is_due: Callable[[int], bool]) -> None:
    """Remove the rows of rounds that are not due; a file without rows is removed too.

    Raises:
        RunError: if the disk is full.
    """
    if not path.is_file():
        return
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    numbers = pc.unique(pq.read_table(path, columns=["round"])["round"]).to_pylist()
    due = [number for number in numbers if is_due(number)]
    if due == numbers:
        return
    if not due:
        return path.unlink()
    file = pq.ParquetFile(path)
    with replace(path) as temporary, pq.ParquetWriter(temporary, file.schema_arrow) as writer:
        for batch in file.iter_batches(_BATCH):
            writer.write_batch(batch.filter(pc.field("round").isin(due)))


def traffic(path: Path, number: int) -> tuple[int, int]:
    """Return the bytes, up and down, of the evaluation on clients in round ``number``."""
    if not path.is_file():
        return 0, 0
    import pyarrow.parquet as pq

    table = pq.read_table(path, filters=[("round", "=", number)])
    return sum(table["bytes_up"].to_pylist()), sum(table["bytes_down"].to_pylist())


def _names(row: ClientRow) -> list[str]:
    """Return the columns' names, in order; those of the metrics where ``metrics`` stands."""
    names = []
    for item in fields(ClientRow):
        names += list(row.metrics) if item.name == "metrics" else [item.name]
    return names


def _cell(row: ClientRow, name: str) -> int | float | str:
    cell: int | float | str = row.metrics[name] if name in row.metrics else getattr(row, name)
    return cell


def _arrow(pa: Any, cell: object) -> Any:
    return {int: pa.int64(), float: pa.float64(), str: pa.string()}[type(cell)]
