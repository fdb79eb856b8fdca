"""The schema and the number of rows in a Parquet file's footer, read without pyarrow.

pyarrow takes longer to import than all the rest of ``fedsim check``.  The footer is a Thrift
structure in the compact protocol (apache/thrift, doc/specs/thrift-compact-protocol.md); which
field is which is in apache/parquet-format, parquet.thrift: FileMetaData and SchemaElement.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsim.errors import DataError

__all__ = ["Footer", "read_footer"]

_PHYSICAL = ("bool", "int32", "int64", "int96", "float32", "float64", "text", "text")
"""Names of parquet.thrift's Type, in its order."""
_SCHEMA, _ROWS = 2, 3
_TYPE, _NAME, _CHILDREN, _CONVERTED = 1, 4, 5, 6
_TRUE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 3, 7, 8, 9, 10, 11, 12
_DATES = {6: "date", 7: "time", 8: "time", 9: "timestamp", 10: "timestamp"}
"""Of ConvertedType: integers that are dates."""
_MOST = 64 << 20
"""Bytes that a footer may take."""


@dataclass(frozen=True)
class Footer:
    """What a Parquet file says of itself."""

    rows: int
    columns: dict[str, str]
    """The kind of each column that holds plain values, or ``list`` for a nested one."""


def read_footer(path: Path) -> Footer:
    """Return what the last bytes of ``path`` say.

    Raises:
        DataError: if it is no Parquet file.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        tail = file.read()
        length = struct.unpack("<I", tail[:4])[0] if len(tail) == 8 else 0
        if tail[4:] != b"PAR1" or not 0 < length <= min(size - 8, _MOST):
            raise DataError("it is no Parquet file, or one that is encrypted")
        file.seek(size - 8 - length)
        footer = _Compact(file.read(length)).structure()
    return Footer(int(footer[_ROWS]), _columns(footer[_SCHEMA]))


def _columns(schema: list[dict[int, Any]]) -> dict[str, str]:
    """Return the columns at the top of a schema, which lists a tree depth first."""
    columns: dict[str, str] = {}
    at = 1  # after the root
    while at < len(schema):
        element = schema[at]
        name = element[_NAME].decode("utf-8")
        if element.get(_CHILDREN):
            columns[name] = "list"
            at = _after(schema, at)
        else:
            kind = _PHYSICAL[element[_TYPE]]
            columns[name] = _DATES.get(element.get(_CONVERTED, -1), kind)
            at += 1
    return columns


def _after(schema: list[dict[int, Any]], at: int) -> int:
    """Return where the subtree at ``at`` ends."""
    left = 1
    while left:
        left += schema[at].get(_CHILDREN, 0) - 1
        at += 1
    return at


class _Compact:
    """A reader of Thrift's compact protocol; structures become dictionaries by field number."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def structure(self) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while header := self._byte():
            kind, step = header & 15, header >> 4
            number = number + step if step else self._zigzag()
            # A field that is a truth value has it in its kind.
            fields[number] = kind == _TRUE if kind <= 2 else self._value(kind)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in (_LIST, _SET):
            return self._list()
        if kind == _STRUCT:
            return self.structure()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _MAP:
            return self._map()
        return self._byte() if kind <= _BYTE else self._zigzag()

    def _list(self) -> list[Any]:
        header = self._byte()
        count = header >> 4 if header >> 4 < 15 else self._varint()
        return [self._value(header & 15) for _ in range(count)]

    def _map(self) -> None:
        count = self._varint()
        kinds = self._byte() if count else 0
        for _ in range(count):
            self._value(kinds >> 4)
            self._value(kinds & 15)

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
