"""Tensors as Flower's arrays: NumPy's file format, as Flower writes it, and no unpickling."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, RecordDict

from fedsim.wire import Weights

__all__ = ["bare", "count_bytes", "dressed", "plain_bytes", "record_of", "settled", "weights_of"]

MAGIC = b"\x93NUMPY\x01\x00"
FORMAT = "numpy.ndarray"

Values = np.ndarray[Any, Any]


class TensorArray(Array):
    """A Flower array that becomes bytes when somebody asks for them.

    Between a host and its own clients nobody does, which saves most of a message's cost.  It
    shares the tensor's memory: :func:`settled` cuts it loose where a content is kept.
    """

    values: Values

    def __init__(self, values: Values) -> None:
        named = {"dtype": str(values.dtype), "shape": values.shape, "stype": FORMAT}
        self.__dict__.update(named, values=values)

    @property
    def header(self) -> bytes:
        """What the file format puts before the values."""
        return _header(self.values.dtype.str, self.values.shape)

    @property
    def data(self) -> bytes:  # type: ignore[override]  # Flower has a plain attribute here
        """The array in NumPy's file format."""
        return b"".join((self.header, self.values.reshape(-1).data))

    def settled(self) -> Array:
        """Return the same as a plain Flower array, with memory of its own."""
        return Array(self.dtype, self.shape, self.stype, self.data)

    def __reduce__(self) -> tuple[Any, ...]:
        return Array, (self.dtype, self.shape, self.stype, self.data)


def record_of(weights: Weights) -> ArrayRecord:
    """Return the tensors as a Flower record; they keep their dtype, shape and bits."""
    record = ArrayRecord()
    for name, tensor in weights.items():
        values = np.ascontiguousarray(tensor.detach().cpu().numpy()).reshape(tensor.shape)
        record[name] = TensorArray(values)
    return record


def weights_of(record: ArrayRecord) -> Weights:
    """Return a record's tensors, each with memory of its own.

    Raises:
        ValueError: if an array is not a plain numeric array in NumPy's format, version 1.
    """
    return {name: torch.from_numpy(_values(name, array)) for name, array in record.items()}


def settled(content: RecordDict) -> RecordDict:
    """Return ``content`` as it is now, whatever becomes of the tensors that it was made of."""
    return RecordDict(
        {
            name: ArrayRecord({key: _plain(array) for key, array in record.items()})
            if isinstance(record, ArrayRecord)
            else record
            for name, record in content.items()
        }
    )


def count_bytes(content: RecordDict) -> int:
    """Return the size of a message's content in bytes, names included, framing excluded."""
    total = 0
    for record in content.array_records.values():
        total += sum(len(name) + _size(array) for name, array in record.items())
    others: tuple[Any, ...] = (*content.metric_records.values(), *content.config_records.values())
    return total + sum(int(record.count_bytes()) for record in others)


def plain_bytes(weights: Weights) -> int | None:
    """Return what the arrays of ``record_of(weights)`` count, without making them.

    None where a tensor is anything but numbers on the CPU: only encoding it can tell.
    """
    total = 0
    for name, tensor in weights.items():
        if type(tensor) is not torch.Tensor or type(name) is not str:
            return None
        if tensor.requires_grad or not tensor.is_cpu or tensor.layout is not torch.strided:
            return None
        if (header := _header_bytes(tensor.dtype, tensor.shape)) is None:
            return None
        total += len(name) + header + tensor.nbytes
    return total


def bare(weights: Weights) -> dict[str, Values]:
    """Return the tensors as NumPy arrays, which travel between processes much faster."""
    return {name: tensor.numpy() for name, tensor in weights.items()}


def dressed(arrays: Mapping[str, Values]) -> Weights:
    """Return what :func:`bare` was given, with memory of its own."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


@lru_cache(maxsize=4096)
def _header_bytes(dtype: torch.dtype, shape: torch.Size) -> int | None:
    try:
        descr = torch.empty(0, dtype=dtype).numpy().dtype.str
    except TypeError:  # NumPy knows no such numbers
        return None
    return len(_header(descr, tuple(shape)))


def _plain(array: Array) -> Array:
    return array.settled() if isinstance(array, TensorArray) else array


def _size(array: Array) -> int:
    if isinstance(array, TensorArray):
        return len(array.header) + array.values.nbytes
    return len(array.data)


@lru_cache(maxsize=4096)
def _header(descr: str, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": descr, "fortran_order": False, "shape": shape}
    )
    return buffer.getvalue()


@lru_cache(maxsize=4096)
def _parsed(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(io.BytesIO(header))
    if fortran or dtype.hasobject or dtype.kind not in "biuf":
        raise ValueError(f"an array of {dtype}, which is not plain numbers in C order")
    return shape, dtype


def _values(name: str, array: Array) -> Values:
    if isinstance(array, TensorArray):
        return array.values.copy()
    data = array.data
    if array.stype != FORMAT or data[:8] != MAGIC:
        raise ValueError(f"{name}: not an array in NumPy's format")
    start = 10 + int.from_bytes(data[8:10], "little")
    try:
        shape, dtype = _parsed(bytes(data[8:start]))
    except Exception as error:
        raise ValueError(f"{name}: {error}") from error
    if len(data) - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name}: {len(data) - start} bytes do not make {shape} of {dtype}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).copy()
