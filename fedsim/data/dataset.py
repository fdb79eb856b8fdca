"""What a source gives, and the three contracts of this room: source, partition, shift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np

from fedsim.data.dataset_checks import Array, check_index, check_split, check_weight
from fedsim.data.table_layout import Planned
from fedsim.errors import DataError

__all__ = ["Array", "Dataset", "Partition", "Shares", "Shift", "Source"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples as a source gives them, checked: a data set that exists is sound.

    Raises:
        DataError: if an array is empty, of another length than its inputs, or holds values
            that nothing can be trained on.
    """

    inputs: Array
    """Shape ``(n, *features)``, uint8 or float32; images are ``(n, channels, height, width)``.
    Int64 are token ids ``(n, length)``: they stay as they are, and are never normalised.
    Several inputs by name are records ``(n,)``; see :mod:`fedsim.data.records`."""
    labels: Array
    """What there is to learn, shape ``(n,)`` or ``(n, ...)``: integers, float32 or bool."""
    test_inputs: Array | None
    """The official test split, shape ``(m, *features)``; None where there is none."""
    test_labels: Array | None
    classes: int
    """How many there are where labels are class numbers, from 0; 0 where they are anything else:
    floats, marks of several labels, integers that are amounts."""
    class_names: tuple[str, ...] = ()
    client: Array | None = None
    """Shape ``(n,)``, int64 from 0: the natural client of each training example."""
    client_names: tuple[str, ...] = ()
    domain: Array | None = None
    """Shape ``(n,)``, int64 from 0: the domain of each training example."""
    domain_names: tuple[str, ...] = ()
    """One for each domain."""
    test_domain: Array | None = None
    """Shape ``(m,)``."""
    weight: Array | None = None
    """Shape ``(n,)``, float32, 0 or more: how much each training example counts; None: alike."""
    test_weight: Array | None = None
    """Shape ``(m,)``."""
    columns: tuple[str, ...] = ()
    """What the columns of a table are called, as its inputs have them; empty for all else."""
    target_names: tuple[str, ...] = ()
    """What the labels are amounts of."""
    table: tuple[Planned, ...] = ()
    """How each column of a table became numbers; empty for all else."""
    notes: tuple[str, ...] = ()
    """What a user should know of the data before learning from it."""
    has_gaps: bool = False
    """Whether NaN stands for an absent number, which becomes the mean of the training parts."""
    strata: Array | None = None
    """Shape ``(n,)``, int64 from 0: what to stratify by; None: as the labels say."""

    def __post_init__(self) -> None:
        check_split(self.inputs, self.labels, self.classes, "", self.has_gaps)
        check_weight(self.weight, len(self.inputs), "")
        check_index(self.client, len(self.inputs), "client numbers")
        check_index(self.strata, len(self.inputs), "strata")
        check_index(self.domain, len(self.inputs), "domain numbers", len(self.domain_names))
        if self.has_gaps and self.inputs.dtype.names:
            raise DataError("absent numbers become means where inputs are one array alone")
        if self.columns and self.inputs.shape[1:] != (len(self.columns),):
            shape = self.inputs.shape[1:]
            raise DataError(f"{len(self.columns)} names of columns for inputs of {shape}")
        if self.class_names and len(self.class_names) != self.classes:
            raise DataError(f"{len(self.class_names)} class names for {self.classes} classes")
        if self.test_inputs is None or self.test_labels is None:
            if self.test_inputs is not self.test_labels:
                raise DataError("a test split needs both inputs and labels; one of them is absent")
            return
        rows, names = len(self.test_inputs), len(self.domain_names)
        check_split(self.test_inputs, self.test_labels, self.classes, "test ", self.has_gaps)
        check_weight(self.test_weight, rows, "test ")
        check_index(self.test_domain, rows, "test domain numbers", names)
        kinds = [f"{part.dtype} {part.shape[1:]}" for part in (self.inputs, self.test_inputs)]
        if kinds[0] != kinds[1]:
            raise DataError(f"a training example is {kinds[0]}, a test example {kinds[1]}")
        kinds = [f"{part.dtype} {part.shape[1:]}" for part in (self.labels, self.test_labels)]
        if not self.classes and kinds[0] != kinds[1]:
            raise DataError(f"a training label is {kinds[0]}, a test label {kinds[1]}")

    def __len__(self) -> int:
        return len(self.inputs)

    def subset(self, rows: Array, **changes: Any) -> Dataset:
        """Return the training examples at ``rows`` alone, with ``changes`` of other fields."""
        by_row = ("inputs", "labels", "client", "domain", "weight", "strata")
        chosen = {
            name: array[rows] for name in by_row if (array := getattr(self, name)) is not None
        }
        return replace(self, **(chosen | changes))


@dataclass(frozen=True, eq=False)
class Shares(Sequence[Array]):
    """Each client's indices behind one another, for a million clients in two arrays."""

    order: Array
    """Shape ``(n,)``: the indices that client 0 holds, then client 1's, ..."""
    offsets: Array
    """Shape ``(clients + 1,)``: where in ``order`` each client's begin."""

    @classmethod
    def of_sizes(cls, order: Array, sizes: Array) -> Shares:
        """Return shares of ``order``, as many indices for each client as ``sizes`` says."""
        return cls(order, np.concatenate([[0], np.cumsum(sizes)]))

    @property
    def sizes(self) -> Array:
        """How many examples each client holds, ``(clients,)``."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, at: int) -> Array: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Array]: ...
    def __getitem__(self, at: int | slice) -> Array | Sequence[Array]:
        if isinstance(at, slice):
            return [self[k] for k in range(*at.indices(len(self)))]
        which = range(len(self))[at]
        indices: Array = self.order[self.offsets[which] : self.offsets[which + 1]]
        return indices


class Source(Protocol):
    """Where examples come from."""

    # A source may also have a method peek(folder) -> fedsim.data.header.Header, which tells what
    # headers tell, without torch and fast; and a class variable task, the name of a task.

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the examples; paths are relative to ``folder``.

        Args:
            seed: for sources that draw, such as one that makes its data up.
            folder: where the scenario file lies.

        Raises:
            DataError: if they cannot be read.
            MissingPackage: if reading them needs a package that is not installed.
        """
        ...


class Partition(Protocol):
    """A way to split examples among clients.

    A partition may have a field ``targets`` with names of domains: the clients that hold
    examples of these alone get the role ``target``.
    """

    def deal(self, dataset: Dataset, clients: int | None, seed: int) -> Sequence[Array]:
        """Return the indices of each client's examples: a pure function of its arguments.

        A list of arrays, or :class:`Shares` where there may be very many clients.

        Args:
            dataset: the examples to split.
            clients: how many clients; None where the partition knows it from the data.
            seed: the scenario's root seed.

        Raises:
            DataError: if the examples cannot be split so.
        """
        ...


class Shift(Protocol):
    """How one client's inputs differ from another's though their labels do not."""

    def apply(
        self, inputs: Array, client: int, clients: int, generator: np.random.Generator
    ) -> Array:
        """Return the inputs as client ``client`` of ``clients`` sees them.

        Args:
            inputs: shape ``(n, *features)``, float32; bytes were divided by 255 already.
            client: from 0.
            clients: how many there are.
            generator: this client's own stream.

        Raises:
            DataError: if inputs of this shape cannot be shifted so.
        """
        ...
