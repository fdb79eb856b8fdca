"""Who holds what: the partition as a picture, as a table for a terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from fedsim.data import heatmap
from fedsim.data.dataset import Array
from fedsim.data.naming import columns_text, is_plain, names_text

if TYPE_CHECKING:
    from fedsim.data.federated import FederatedData

__all__ = ["draw", "label_skew", "text", "write_partition"]

_BLOCKS = "·▁▂▃▄▅▆▇█"
_BLOCK = 1 << 16
"""Clients that are looked at at once."""

_SKEWS: WeakKeyDictionary[FederatedData, float] = WeakKeyDictionary()
"""The skews computed so far: a run needs its own three times."""


def label_skew(data: FederatedData) -> float:
    """Return how far the clients' label laws are from that of all examples together.

    It is the mean over clients of the Jensen-Shannon distance (the root of the divergence, in
    bits) between a client's label shares and the global ones: 0 where all are alike, towards 1
    where every client has a class of its own that is rare elsewhere.
    """
    if data in _SKEWS:
        return _SKEWS[data]
    totals = sum(counts_block.sum(axis=0) for counts_block in data.counts_by_block())
    overall = totals / totals.sum()
    divergence, first = np.empty(len(data.clients)), 0
    for counts_block in data.counts_by_block():
        shares = counts_block / counts_block.sum(axis=1, keepdims=True)
        middle = (shares + overall) / 2
        bits = _bits(shares, middle) + _bits(np.broadcast_to(overall, shares.shape), middle)
        divergence[first : first + len(counts_block)] = bits / 2
        first += len(counts_block)
    _SKEWS[data] = float(np.sqrt(np.maximum(divergence, 0)).mean())
    return _SKEWS[data]


def _bits(law: Array, reference: Array) -> Array:
    """Return the Kullback-Leibler divergence of each row, in bits; ``0 log 0`` is 0."""
    ratio = np.divide(law, reference, out=np.ones_like(law), where=law > 0)
    bits: Array = np.sum(law * np.log2(ratio), axis=1)
    return bits


def write_partition(data: FederatedData, folder: Path) -> None:
    """Write ``partition.json`` to ``folder``."""
    skew = json.dumps(round(label_skew(data), 6))
    with (folder / "partition.json").open("w", encoding="utf-8") as file:
        # A line for each client: readable, and a difference of two files shows whose changed.
        file.write('{"clients": [\n  ')
        for at, lines in enumerate(_lines(data)):
            separator = ",\n  "
            file.write((separator if at else "") + separator.join(lines))
        strata = "" if is_plain(data.strata) else f', "strata": {json.dumps(data.strata)}'
        file.write(f'\n], "label_skew": {skew}{strata}}}\n')


def _lines(data: FederatedData) -> Iterator[Iterator[str]]:
    """Yield blocks of clients as JSON, put together by hand: a million take a second."""
    quoted = [json.dumps(name) for name in (*data.domain_names, "")]  # -1, no domain, is the last
    # A column for each class: a list for each client would keep the garbage collector busy.
    roles, columns = ("source", "target"), (*data.holders, *data.counts().T)
    names = data.client_names

    def named(client: int) -> str:
        return f', "name": {json.dumps(names[client])}' if names else ""

    for first in range(0, len(data.clients), _BLOCK):
        block = (column[first : first + _BLOCK].tolist() for column in columns)
        yield (
            f'{{"id": {client}, "examples": {size}, "domain": {quoted[domain]}, '
            f'"role": "{roles[target]}", "labels": {labels}{named(client)}}}'
            for client, (size, domain, target, *labels) in enumerate(
                zip(*block, strict=True), first
            )
        )


def draw(data: FederatedData, path: Path) -> None:
    """Draw the partition to ``path``, ``.svg``, ``.png`` or ``.pdf``: same data, same bytes.

    Raises:
        DataError: if ``path`` has another suffix.
        MissingPackage: if matplotlib is not installed.
    """
    heatmap.draw(data, label_skew(data), path)


def text(data: FederatedData, most: int = 40) -> str:
    """Return the partition as a table: a row per client, a block for each label's share of it.

    Args:
        data: the partitioned examples.
        most: no more clients than this are shown, evenly chosen.
    """
    counts, shown = data.counts(), heatmap.sample(len(data.clients), most)
    shares = counts / counts.sum(axis=1, keepdims=True)
    heights = np.ceil(shares * (len(_BLOCKS) - 1) / shares.max()).astype(int)[:, :60]
    kind, kinds = ("label", "labels") if data.classes else ("target", "strata")
    rows = [f"{'client':>8} {'examples':>9}  {kinds} 0 to {heights.shape[1] - 1}"]
    for client in shown:
        info = data.clients[client]
        blocks = "".join(_BLOCKS[height] for height in heights[client])
        role = " (target)" if info.role == "target" else ""
        who = f"{info.domain}{role} {data.client_names[client] if data.client_names else ''}"
        rows.append(f"{client:>8} {info.examples:>9,}  {blocks}  {who}".rstrip())
    if len(shown) < len(data.clients):
        rows.append(f"     ... {len(shown)} of {len(data.clients):,} clients shown")
    sizes, labels = counts.sum(axis=1), (counts > 0).sum(axis=1)
    rows.append(
        f"{len(data.clients):,} clients, {sizes.sum():,} training examples,"
        f" {len(data.server_test()):,} test examples on the server\n"
        f"examples per client: least {sizes.min():,}, median {np.median(sizes):,.0f},"
        f" most {sizes.max():,}\n"
        f"{f'{kinds} per client:':<20} {labels.min()} to {labels.max()} of {len(data.strata)}\n"
        f"{f'{kind} skew:':<20} {label_skew(data):.2f} (0: all alike, towards 1: each its own)"
    )
    return "\n".join([*rows, *_named(data)])


def _named(data: FederatedData) -> list[str]:
    """Return the names of columns, classes or strata, in lines, and the notes."""
    lines = [f"columns: {columns_text(data.columns)}"] if data.columns else []
    if data.target_names and not data.classes:
        lines.append(f"targets: {names_text(data.target_names)}")
    if not is_plain(data.strata):
        lines.append(f"{'classes' if data.classes else 'strata'}: {names_text(data.strata)}")
    return [*lines, *(f"note: {note}" for note in data.notes)]
