"""Stratified cuts: any share of the examples has the classes in nearly the same shares."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from fedsim.data.dataset import Array

__all__ = ["cut", "stratified"]


def stratified(labels: Array, generator: np.random.Generator) -> Array:
    """Return a random order, each prefix of which holds every class in proportion.

    Example ``i`` of the ``n_c`` of its class is put at ``(i + u_c) / n_c`` of the way, with one
    offset ``u_c`` in [0, 1) per class.  A prefix of any length then holds each class within
    about one example of its share, and a class of one example is anywhere with equal chance.

    Args:
        labels: shape ``(n,)``, integers from 0.
        generator: the only source of randomness.
    """
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    grouped = labels[by_class]
    place = np.arange(len(labels)) - starts[grouped] + generator.random(len(sizes))[grouped]
    return by_class[np.argsort(place / sizes[grouped], kind="stable")]


def cut(labels: Array, shares: Sequence[Fraction], generator: np.random.Generator) -> list[Array]:
    """Return the rest and one part per share: positions, ascending, stratified by label.

    A part has ``floor(share * n)`` examples, so the rest is never empty while the shares sum
    to less than one.  Shares are exact fractions: in floats, 29 % of 100 is 28.999999999999996.

    >>> parts = cut(np.array([0, 0, 1, 1, 1]), [Fraction(1, 2)], np.random.default_rng(0))
    >>> [len(part) for part in parts]
    [3, 2]
    """
    order = stratified(labels, generator)
    ends = np.cumsum([int(share * len(labels)) for share in shares], dtype=np.int64)
    *parts, rest = np.split(order, ends)
    return [np.sort(part) for part in (rest, *parts)]
