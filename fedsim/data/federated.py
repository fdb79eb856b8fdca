"""Whose examples: every client's own parts, the server's test set, and all of them pooled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from fedsim.client import Examples, Unlabelled
from fedsim.data import store as stores
from fedsim.data.client_cache import ClientCache
from fedsim.data.client_list import ClientList, train_sizes, training_rows
from fedsim.data.dataset import Array
from fedsim.data.dataset_checks import names_in
from fedsim.data.naming import is_plain
from fedsim.data.partitioning import Recipe, partition_examples
from fedsim.data.ready_examples import ready_examples
from fedsim.data.records import example_shape, flat_shape
from fedsim.data.scale import Scaling
from fedsim.data.scenario_recipe import recipe_of
from fedsim.data.table_layout import Planned
from fedsim.data.target_spec import target_spec
from fedsim.errors import DataError
from fedsim.task import TargetSpec
from fedsim.wire import ClientInfo

if TYPE_CHECKING:
    from fedsim.schema.scenario import Scenario

__all__ = ["FederatedData", "prepare", "prepare_recipe"]

Part = Literal["train", "val", "test"]
_PARTS: tuple[Part, ...] = ("train", "val", "test")
_BLOCK = 1 << 16
"""Clients that are counted at once."""


def prepare(scenario: Scenario, store: Path) -> FederatedData:
    """Return the data of ``scenario``, partitioned; written to ``store`` unless it is there.

    Args:
        scenario: its ``data``, ``clients.count`` and ``seed`` alone matter.
        store: a folder of this scenario's own: a complete one is opened as it is.

    Raises:
        DataError: if the data cannot be read, or cannot be split as the scenario asks.
        MissingPackage: if that needs a package that is not installed.
    """
    if stores.is_complete(store):
        return FederatedData.open(store)
    return prepare_recipe(recipe_of(scenario), store)


def prepare_recipe(recipe: Recipe, store: Path) -> FederatedData:
    """Return what :func:`prepare` does, from plain values."""
    if not stores.is_complete(store):
        stores.write(partition_examples(recipe), store)
    return FederatedData.open(store)


class FederatedData:
    """All clients' examples, opened memory-mapped: the workers of a machine share the pages.

    Examples are given as tensors that are shared with a cache: read them, do not write to them.
    """

    def __init__(
        self, arrays: Mapping[str, Array], meta: Mapping[str, Any], cache_bytes: int
    ) -> None:
        self._arrays = arrays
        scale = Scaling(arrays["centre"], arrays["spread"])
        self._examples = partial(ready_examples, arrays, scale)
        self._cache = ClientCache(cache_bytes)
        self.clients: Sequence[ClientInfo] = ClientList(arrays, tuple(meta["domain_names"]))
        self.model_shape = example_shape(arrays["inputs"], meta.get("sizes", {}))
        """What a model is built for: the shape of an example, or of each of its inputs."""
        self.shape: tuple[int, ...] = flat_shape(self.model_shape)
        """The same; of several inputs, how many numbers they are."""
        self.classes: int = meta["classes"]
        self.class_names: tuple[str, ...] = tuple(meta["class_names"])
        self.client_names: tuple[str, ...] = tuple(meta.get("client_names", ()))
        """Of natural clients, in their order; empty where clients have no names."""
        self.domain_names: tuple[str, ...] = tuple(meta["domain_names"])
        self.strata: tuple[str, ...] = (
            tuple(meta.get("strata_names", ()))
            or self.class_names
            or tuple(str(number) for number in range(self.classes))
        )
        """The names of what :meth:`counts` counts."""
        self.columns: tuple[str, ...] = tuple(meta.get("columns", ()))
        """Of a table: what is learnt from."""
        self.table: tuple[Planned, ...] = tuple(map(Planned.of, meta.get("table", ())))
        """How each column of a table became numbers; empty where it was no table."""
        self.target_names: tuple[str, ...] = tuple(meta.get("target_names", ()))
        """Of amounts; empty where they have no names."""
        self.notes: tuple[str, ...] = tuple(meta.get("notes", ()))
        """What a user should know of the data."""
        self.digest: str = meta["digest"]
        self.targets: TargetSpec = (
            TargetSpec.of(meta["targets"])
            if "targets" in meta  # not in a store of version 0.1
            else target_spec(arrays["labels"], arrays["offsets"], self.classes, arrays["target"])
        )
        """What a task has to know of the targets."""
        self.is_here = True
        """Whether the clients' examples are these; on real devices they stay there."""

    @classmethod
    def open(cls, store: Path, cache_bytes: int = 256 << 20) -> FederatedData:
        """Open what :func:`prepare` wrote.

        Args:
            store: the folder.
            cache_bytes: how much the ready-made tensors of recent clients may take.

        Raises:
            DataError: if there is no complete store.
        """
        arrays, meta = stores.read(store)
        return cls(arrays, meta, cache_bytes)

    @property
    def has_weights(self) -> bool:
        """Whether examples count by weights of their own."""
        return "weight" in self._arrays

    def terms(self) -> dict[str, Any]:
        """Return, as plain values, what a device needs to prepare examples of its own alike.

        Raises:
            DataError: if inputs are several arrays.
        """
        arrays = self._arrays
        if names_in(arrays["inputs"]):
            raise DataError("devices take one array of inputs, and the data has several by name")
        numbers = ("centre", "spread", "domain", "target", *(["fill"] if "fill" in arrays else []))
        return {
            "shape": list(self.shape),
            "dtype": arrays["inputs"].dtype.name,
            "classes": self.classes,
            "class_names": list(self.class_names),
            "domain_names": list(self.domain_names),
            "targets": asdict(self.targets),
            **{name: arrays[name].tolist() for name in numbers},
        }

    def named(self) -> dict[str, list[str]]:
        """Return the names of what is learnt from and what there is to learn; notes too."""
        named = {
            "columns": self.columns,
            "classes": () if is_plain(self.class_names) else self.class_names,
            "targets": () if self.classes else self.target_names,
            "clients": self.client_names,
            "notes": self.notes,
        }
        return {name: list(values) for name, values in named.items() if values}

    @property
    def stored(self) -> Mapping[str, Array]:
        """The arrays as they are stored, not normalised; see :mod:`fedsim.data.store`."""
        return self._arrays

    def elsewhere(self, examples: Mapping[int, int]) -> FederatedData:
        """Return the same for devices that hold ``examples`` of their own, which stay there."""
        on_devices = copy(self)
        on_devices.is_here = False
        on_devices.clients = [replace(info, examples=examples[info.id]) for info in self.clients]
        return on_devices

    @property
    def sizes(self) -> Array:
        """How many training examples each client holds, `(clients,)`."""
        if not self.is_here:
            return np.array([info.examples for info in self.clients])
        return train_sizes(self._arrays["offsets"])

    def train(self, client: int) -> Examples | Unlabelled:
        """Return the training part of ``client``, normalised; a target's without labels."""
        return self.part(client, "train")

    @overload
    def part(self, client: int, part: Literal["val", "test"]) -> Examples: ...
    @overload
    def part(self, client: int, part: Literal["train"]) -> Examples | Unlabelled: ...
    @overload
    def part(self, client: int, part: Part) -> Examples | Unlabelled: ...
    def part(self, client: int, part: Part) -> Examples | Unlabelled:
        """Return one part of ``client``'s examples; ``val`` and ``test`` may be empty."""
        examples = self._part(client, part)
        is_withheld = part == "train" and self._arrays["target"][client]
        return Unlabelled(examples.inputs) if is_withheld else examples

    def _part(self, client: int, part: Part) -> Examples:
        at = 3 * range(len(self.clients))[client] + _PARTS.index(part)
        if (examples := self._cache.get(at)) is None:
            rows = slice(*self._arrays["offsets"][at : at + 2])
            examples = self._cache.put(at, self._examples(rows, owner=client))
        return examples

    def server_test(self, domain: str | None = None) -> Examples:
        """Return what the server tests on, or its examples of one domain; may be empty."""
        key = domain or ""
        if (examples := self._cache.get(key)) is None:
            rows: slice | Array = slice(None)
            if domain is not None:
                rows = self._arrays["test_domain"] == self.domain_names.index(domain)
            examples = self._cache.put(key, self._examples(rows, "test_"))
        return examples

    def pooled(self, targets: bool = False) -> Examples:
        """Return the sources' training parts, in the order of clients: not cached.

        Args:
            targets: take the targets' too, with their labels: what an oracle would train on.
        """
        owner, rows = training_rows(self._arrays["offsets"])
        taken = targets | ~self._arrays["target"][owner]
        return self._examples(rows[taken], owner=owner[taken])

    def counts(self) -> Array:
        """Return each client's training examples of each stratum, ``(clients, strata)``.

        Strata are the classes where labels are class numbers; see :mod:`fedsim.data.strata`.
        """
        return np.concatenate(list(self.counts_by_block()))

    def counts_by_block(self) -> Iterator[Array]:
        """Yield what :meth:`counts` returns, the next few clients at a time."""
        offsets, clients, strata = self._arrays["offsets"], len(self.clients), len(self.strata)
        stratum = self._arrays.get("strata", self._arrays["labels"])
        for first in range(0, clients, _BLOCK):
            count = min(_BLOCK, clients - first)
            begins = offsets[3 * first : 3 * (first + count) + 1]
            part = np.repeat(np.arange(3 * count), np.diff(begins))  # of each example
            of_example, train = stratum[begins[0] : begins[-1]], part % 3 == 0
            cell = part[train] // 3 * strata + of_example[train]
            counts = np.bincount(cell, minlength=count * strata)
            yield counts.reshape(count, strata)

    @property
    def holders(self) -> tuple[Array, Array, Array]:
        """How many training examples, which domain (-1: none) and whether a target, by client."""
        return self.sizes, self._arrays["domain"], self._arrays["target"]
