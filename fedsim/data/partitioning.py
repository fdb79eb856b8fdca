"""From a source to partitioned examples: who holds which, in which of its parts, on what scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fedsim.data.dataset import Array, Dataset, Partition, Shares, Shift, Source
from fedsim.data.hold_out import hold_out, in_floats
from fedsim.data.imputation import imputed, training_means
from fedsim.data.label_kinds import as_targets
from fedsim.data.normalisation import Normalize, scale_for
from fedsim.data.partition_check import checked_shares
from fedsim.data.scale import Scaling
from fedsim.data.source_loading import loaded
from fedsim.data.split import cut
from fedsim.data.strata import named_strata, strata_of
from fedsim.data.table_layout import Planned
from fedsim.data.target_spec import target_spec
from fedsim.errors import DataError
from fedsim.seeds import numpy_stream
from fedsim.task import TargetSpec

__all__ = ["Partitioned", "Recipe", "partition_examples"]

_MOST_NAMES = 100_000
"""Clients, beyond which their names would weigh on every worker."""


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
    normalize: Normalize = True
    task: str = "classification"
    """What there is to learn: it says how labels are read, and what to stratify by."""


@dataclass(frozen=True, eq=False)
class Partitioned:
    """Examples in the order of their owners, so that a client's part is one slice."""

    inputs: Array
    """Shape ``(n, *features)``: client 0's train, val and test part, then client 1's, ..."""
    labels: Array
    """Shape ``(n, ...)``."""
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
    client_names: tuple[str, ...] = ()
    """Of natural clients; empty where clients have no names."""
    weight: Array | None = None
    """Shape ``(n,)``: how much each example counts."""
    test_weight: Array | None = None
    strata: Array | None = None
    """Shape ``(n,)``: what was stratified by, where that are not the labels."""
    strata_names: tuple[str, ...] = ()
    fill: Array | None = None
    """What an absent number became, of the shape of one example; None where none may be absent."""
    columns: tuple[str, ...] = ()
    """Of a table: what is learnt from."""
    table: tuple[Planned, ...] = ()
    """How each column of a table became numbers."""
    target_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def partition_examples(recipe: Recipe) -> Partitioned:
    """Load, split off the server's test set, partition, split each client's examples, shift, scale.

    The server's test set is not shifted: it represents the data as the source gives it.

    Raises:
        DataError: if the data cannot be read, or cannot be split so.
        MissingPackage: if reading or partitioning needs a package that is not installed.
    """
    dataset = as_targets(loaded(recipe.source, recipe.seed, recipe.folder), recipe.task)
    strata, strata_names = named_strata(dataset)
    if strata is not dataset.labels:
        dataset = replace(dataset, strata=strata)
    if recipe.shift is not None:
        dataset = in_floats(dataset)  # refuses several inputs
    dataset, rows = hold_out(dataset, recipe.server_test, recipe.seed)
    owned = checked_shares(
        recipe.partition.deal(dataset, recipe.clients, recipe.seed), len(dataset)
    )
    order, offsets = _parts(owned, strata_of(dataset), recipe)
    dataset, fill = _complete(dataset, order, offsets)
    inputs = _shifted(dataset.inputs[order], offsets, recipe)
    labels = _stored(dataset.labels[order], dataset.classes)
    domain = _domains(dataset.domain, owned)
    target = _targets(domain, dataset.domain_names, recipe.partition)
    return Partitioned(
        inputs=inputs,
        labels=labels,
        offsets=offsets,
        origin=rows[order],
        domain=domain,
        target=target,
        scale=scale_for(recipe.normalize, inputs, offsets),
        classes=dataset.classes,
        targets=target_spec(labels, offsets, dataset.classes, target),
        class_names=dataset.class_names,
        domain_names=dataset.domain_names,
        client_names=_client_names(dataset, owned),
        weight=None if dataset.weight is None else dataset.weight[order],
        strata=None if dataset.strata is None else dataset.strata[order],
        fill=fill,
        columns=dataset.columns,
        table=dataset.table,
        target_names=dataset.target_names,
        notes=dataset.notes,
        strata_names=() if dataset.strata is None else strata_names,
        **_server_test(dataset),
    )


def _complete(dataset: Dataset, order: Array, offsets: Array) -> tuple[Dataset, Array | None]:
    """Return the data set with means in place of absent numbers, and these means.

    Args:
        dataset: with gaps, maybe.
        order: the rows of all clients' parts.
        offsets: where the parts begin; every third is a training part.
    """
    if not dataset.has_gaps:
        return dataset, None
    is_training = np.repeat(np.arange(len(offsets) - 1) % 3 == 0, np.diff(offsets))
    fill = training_means(dataset.inputs, np.sort(order[is_training]), bool(dataset.columns))
    test = dataset.test_inputs
    complete = replace(
        dataset,
        has_gaps=False,
        inputs=imputed(dataset.inputs, fill),
        test_inputs=None if test is None else imputed(test, fill),
    )
    return complete, fill


def _stored(labels: Array, classes: int) -> Array:
    return labels.astype(np.int64) if classes else labels


def _server_test(dataset: Dataset) -> dict[str, Any]:
    if dataset.test_inputs is None or dataset.test_labels is None:
        return {
            "test_inputs": dataset.inputs[:0],
            "test_labels": _stored(dataset.labels[:0], dataset.classes),
            "test_domain": np.zeros(0, np.int64),
        }
    domain = dataset.test_domain
    return {
        "test_inputs": dataset.test_inputs,
        "test_labels": _stored(dataset.test_labels, dataset.classes),
        "test_weight": dataset.test_weight,
        "test_domain": np.full(len(dataset.test_labels), -1) if domain is None else domain,
    }


def _parts(owned: Shares, strata: Array, recipe: Recipe) -> tuple[Array, Array]:
    """Return all indices, by client and within it by part, and where each part begins."""
    shares = [recipe.client_val, recipe.client_test]
    if not any(shares):
        # Parts 1 and 2 of a client are empty, and begin where its part 0 ends.
        return owned.order, np.concatenate([[0], np.repeat(owned.offsets[1:], 3)])
    parts: list[Array] = []
    for client, indices in enumerate(owned):
        generator = numpy_stream(recipe.seed, "split", client)
        parts += [indices[positions] for positions in cut(strata[indices], shares, generator)]
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
    return np.full(len(owned), -1) if domain is None else _common(domain, owned)


def _common(values: Array, owned: Shares) -> Array:
    """Return the value that all examples of a client have, ``(clients,)``; -1 if they differ."""
    of_example = values[owned.order]
    first = of_example[owned.offsets[:-1]].astype(np.int64)
    pure = np.logical_and.reduceat(of_example == np.repeat(first, owned.sizes), owned.offsets[:-1])
    return np.where(pure, first, -1)


def _client_names(dataset: Dataset, owned: Shares) -> tuple[str, ...]:
    """Return the names of natural clients; none where the partition made clients of its own."""
    if dataset.client is None or not dataset.client_names or len(owned) > _MOST_NAMES:
        return ()
    natural = _common(dataset.client, owned)
    if (natural < 0).any() or len(np.unique(natural)) < len(natural):
        return ()
    return tuple(dataset.client_names[number] for number in natural)


def _targets(domain: Array, names: tuple[str, ...], partition: Partition) -> Array:
    target_numbers = [
        names.index(name) for name in getattr(partition, "targets", ()) if name in names
    ]
    return np.isin(domain, target_numbers)
