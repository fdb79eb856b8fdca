"""From a source to partitioned examples: who holds which, in which of its parts, on what scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from fedsim.data.dataset import Array, Dataset, Partition, Shares, Shift, Source
from fedsim.data.scale import Scaling, fitted, plain
from fedsim.data.split import cut
from fedsim.data.target_spec import target_spec
from fedsim.errors import DataError
from fedsim.seeds import numpy_stream
from fedsim.task import TargetSpec

__all__ = ["Partitioned", "Recipe", "partition_examples"]


@dataclass(frozen=True)
class Recipe:
    """All that the partitioned examples depend on."""

    source: Source
    partition: Partition
    clients: int | None
    seed: int
    folder: Path
    """What paths in the scenario are relative to."""
    shift: Shift | None = None
    server_test: Fraction = Fraction(0)
    """Share that the server keeps, where the source has no test split."""
    client_val: Fraction = Fraction(0)
    """Share of each client's examples."""
    client_test: Fraction = Fraction(0)
    normalize: bool = True


@dataclass(frozen=True, eq=False)
class Partitioned:
    """Examples in the order of their owners, so that a client's part is one slice."""

    inputs: Array
    """Shape ``(n, *features)``: client 0's train, val and test part, then client 1's, ..."""
    labels: Array
    """Shape ``(n,)``."""
    offsets: Array
    """Shape ``(3 * clients + 1,)``: part ``p`` of client ``k`` begins at ``offsets[3k + p]``."""
    origin: Array
    """Shape ``(n,)``: the row of each example in its source."""
    domain: Array
    """Shape ``(clients,)``: the one domain of a client's examples; -1 where it has none or many."""
    target: Array
    """Shape ``(clients,)``, bool."""
    test_inputs: Array
    """Shape ``(m, *features)``: what the server tests on; may be empty."""
    test_labels: Array
    test_domain: Array
    """Shape ``(m,)``; -1 where the source knows no domains."""
    scale: Scaling
    classes: int
    targets: TargetSpec
    """What a task has to know of the targets."""
    class_names: tuple[str, ...]
    domain_names: tuple[str, ...]


def partition_examples(recipe: Recipe) -> Partitioned:
    """Load, split off the server's test set, partition, split each client's examples, shift, scale.

    The server's test set is not shifted: it represents the data as the source gives it.

    Raises:
        DataError: if the data cannot be read, or cannot be split so.
        MissingPackage: if reading or partitioning needs a package that is not installed.
    """
    dataset = recipe.source.load(recipe.seed, recipe.folder)
    if recipe.shift is not None:
        dataset = _in_floats(dataset)
    dataset, rows = _hold_out(dataset, recipe)
    owned = _checked(recipe.partition.deal(dataset, recipe.clients, recipe.seed), len(dataset))
    order, offsets = _parts(owned, dataset.labels, recipe)
    inputs = _shifted(dataset.inputs[order], offsets, recipe)
    domain = _domains(dataset.domain, owned)
    return Partitioned(
        inputs=inputs,
        labels=dataset.labels[order].astype(np.int64),
        offsets=offsets,
        origin=rows[order],
        domain=domain,
        target=_targets(domain, dataset.domain_names, recipe.partition),
        scale=fitted(inputs, offsets) if recipe.normalize else plain(inputs),
        classes=dataset.classes,
        targets=target_spec(dataset.labels[order], offsets, dataset.classes),
        class_names=dataset.class_names,
        domain_names=dataset.domain_names,
        **_server_test(dataset),
    )


def _in_floats(dataset: Dataset) -> Dataset:
    """Return the data set with bytes divided by 255, in both splits: a shift adds fractions."""
    if dataset.inputs.dtype != np.uint8:
        return dataset
    test = dataset.test_inputs
    return replace(
        dataset,
        inputs=dataset.inputs / np.float32(255),
        test_inputs=None if test is None else test / np.float32(255),
    )


def _hold_out(dataset: Dataset, recipe: Recipe) -> tuple[Dataset, Array]:
    """Return the data set with a test split, and the rows of the source that it trains on."""
    everything = np.arange(len(dataset))
    if dataset.test_inputs is not None or not recipe.server_test:
        return dataset, everything
    generator = numpy_stream(recipe.seed, "server_test")
    remaining, test = cut(dataset.labels, [recipe.server_test], generator)
    if not len(test):
        return dataset, everything
    reduced = replace(
        dataset,
        inputs=dataset.inputs[remaining],
        labels=dataset.labels[remaining],
        client=None if dataset.client is None else dataset.client[remaining],
        domain=None if dataset.domain is None else dataset.domain[remaining],
        test_inputs=dataset.inputs[test],
        test_labels=dataset.labels[test],
        test_domain=None if dataset.domain is None else dataset.domain[test],
    )
    return reduced, remaining


def _server_test(dataset: Dataset) -> dict[str, Array]:
    if dataset.test_inputs is None or dataset.test_labels is None:
        none = np.zeros(0, np.int64)
        return {"test_inputs": dataset.inputs[:0], "test_labels": none, "test_domain": none}
    domain = dataset.test_domain
    return {
        "test_inputs": dataset.test_inputs,
        "test_labels": dataset.test_labels.astype(np.int64),
        "test_domain": np.full(len(dataset.test_labels), -1) if domain is None else domain,
    }


def _checked(owned: Sequence[Array], examples: int) -> Shares:
    """Return what a partition, maybe a user's own, returned, once it is checked."""
    if not len(owned):
        raise DataError("the partition gave examples to no client")
    shares = owned if isinstance(owned, Shares) else _joined(owned, examples)
    if not shares.sizes.all():
        client = int(shares.sizes.argmin())
        raise DataError(f"client {client} has no examples; use fewer clients or a milder skew")
    wrong = np.flatnonzero((shares.order < 0) | (shares.order >= examples))
    if len(wrong):
        raise _bad_indices(
            int(np.searchsorted(shares.offsets, wrong[0], side="right")) - 1, examples
        )
    return shares


def _joined(owned: Sequence[Array], examples: int) -> Shares:
    sizes = np.fromiter(map(len, owned), np.int64, len(owned))
    kinds = [not len(indices) or indices.dtype.kind in "iu" for indices in owned]
    if not all(kinds):
        raise _bad_indices(kinds.index(False), examples)
    return Shares.of_sizes(np.concatenate(owned), sizes)


def _bad_indices(client: int, examples: int) -> DataError:
    return DataError(f"client {client} was given indices that are not 0 to {examples - 1}")


def _parts(owned: Shares, labels: Array, recipe: Recipe) -> tuple[Array, Array]:
    """Return all indices, by client and within it by part, and where each part begins."""
    shares = [recipe.client_val, recipe.client_test]
    if not any(shares):
        # Parts 1 and 2 of a client are empty, and begin where its part 0 ends.
        return owned.order, np.concatenate([[0], np.repeat(owned.offsets[1:], 3)])
    parts: list[Array] = []
    for client, indices in enumerate(owned):
        generator = numpy_stream(recipe.seed, "split", client)
        parts += [indices[positions] for positions in cut(labels[indices], shares, generator)]
    sizes = np.array([len(part) for part in parts], dtype=np.int64)
    if not sizes[::3].all():
        client = int(np.flatnonzero(sizes[::3] == 0)[0])
        raise DataError(f"client {client} keeps no training example; hold out less of its own")
    return np.concatenate(parts), np.concatenate([[0], np.cumsum(sizes)])


def _shifted(inputs: Array, offsets: Array, recipe: Recipe) -> Array:
    """Return the inputs as their clients see them, written over those given."""
    if recipe.shift is None:
        return inputs
    starts = offsets[::3]
    clients = len(starts) - 1
    for client in range(clients):
        rows = slice(starts[client], starts[client + 1])
        generator = numpy_stream(recipe.seed, "shift", client)
        inputs[rows] = recipe.shift.apply(inputs[rows], client, clients, generator)
    return inputs


def _domains(domain: Array | None, owned: Shares) -> Array:
    """Return the domain of each client whose examples are all of one; -1 for the others."""
    if domain is None:
        return np.full(len(owned), -1)
    domain_of_example = domain[owned.order]
    first = domain_of_example[owned.offsets[:-1]].astype(np.int64)
    pure = np.logical_and.reduceat(
        domain_of_example == np.repeat(first, owned.sizes), owned.offsets[:-1]
    )
    return np.where(pure, first, -1)


def _targets(domain: Array, names: tuple[str, ...], partition: Partition) -> Array:
    target_numbers = [
        names.index(name) for name in getattr(partition, "targets", ()) if name in names
    ]
    return np.isin(domain, target_numbers)
