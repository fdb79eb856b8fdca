"""Checkpoints of version 0.1, in which the server's plain values were packed into tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedsim.wire import Weights

__all__ = ["without_packed"]

Unpacked = tuple[Weights, dict[str, Any]]
"""The tensors that stay, and the plain values."""


def without_packed(memory: Mapping[str, Weights]) -> tuple[dict[str, Weights], dict[str, Any]]:
    """Return the server's memory without what was packed, and that as plain values.

    A strategy from outside of fedsim unpacks what it packed: its tensors are left as they are.
    """
    tensors: dict[str, Weights] = {}
    plain: dict[str, Any] = {}
    for name, entry in memory.items():
        keys, unpack = _PACKED.get(name, (frozenset(), None))
        if unpack is None or not keys <= entry.keys():
            tensors[name] = entry
            continue
        stays, values = unpack(entry)
        plain |= values
        if stays:
            tensors[name] = stays
    return tensors, plain


def _selected(entry: Weights) -> Unpacked:
    """Unpack which round was the best so far, and its score."""
    values = {"selected.round": int(entry["round"]), "selected.score": float(entry["score"])}
    return {}, values


def _clock(entry: Weights) -> Unpacked:
    """Unpack how often an adversarial strategy has moved its discriminator in this round."""
    return {}, {"turn": int(entry["turn"])}


def _random_features(entry: Weights) -> Unpacked:
    """Unpack the seed and the bandwidth of JAN and JDME; JDME's first subspace stays."""
    stays = {name: value for name, value in entry.items() if name == "basis"}
    values: dict[str, Any] = {"seed": int(entry["seed"])}
    if "bandwidth" in entry:
        values["bandwidth"] = float(entry["bandwidth"])
    return stays, values


def _search(entry: Weights) -> Unpacked:
    """Unpack how far JDME's search for a subspace is."""
    here, before, size, shrunk, needs, queries, steps = entry["numbers"].tolist()
    values = {
        "search.here": here,
        "search.before": before,
        "search.size": size,
        "search.shrunk": int(shrunk),
        "search.needs": ("cost", "slope", "nothing")[int(needs)],
        "search.queries": int(queries),
        "search.steps": int(steps),
    }
    return {name: value for name, value in entry.items() if name != "numbers"}, values


def _clip(entry: Weights) -> Unpacked:
    """Unpack the bound of client-level privacy, where it adapts."""
    return {}, {"privacy-clip": float(entry["privacy-clip"])}


_PACKED: dict[str, tuple[frozenset[str], Callable[[Weights], Unpacked]]] = {
    "selected.standing": (frozenset({"round", "score"}), _selected),
    "clock": (frozenset({"turn"}), _clock),
    "joint": (frozenset({"seed"}), _random_features),
    "start": (frozenset({"basis", "bandwidth", "seed"}), _random_features),
    "search": (frozenset({"numbers"}), _search),
    "privacy": (frozenset({"privacy-clip"}), _clip),
}
"""By the entry's name: which tensors it must have, and what unpacks it."""
