"""Examples in batches of one size, so that none's gradient depends on who else is there."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fedsim.client import Examples, Unlabelled
from fedsim.privacy.noise import NoiseSource

__all__ = [
    "MOST",
    "SLOTS",
    "in_slots",
    "labelled_with_zeros",
    "padded_sample",
    "sampled",
    "slots_for",
]

SLOTS = 16
"""Examples that go through a model together where nothing better is known."""

MOST = 64
"""Never more than these: their gradients are held at the same time."""


def slots_for(batch_size: int) -> int:
    """Return how many examples should go together where Poisson batches have ``batch_size``.

    One standard deviation more than that: most batches take one pass, and little is filled up.
    """
    return min(MOST, math.ceil(batch_size + math.sqrt(batch_size)))


def sampled(examples: int, rate: float, source: NoiseSource) -> Tensor:
    """Return the places of a Poisson sample, `(batch,)`: each is in with chance ``rate``, alone.

    Drawn where the noise is, because the amplification needs a sample that nobody can guess.
    """
    # Words of 64 bits are compared as integers: a float drawn for each has only 53.
    words = source.words(examples)
    chosen = words < np.uint64(rate * 2.0**64) if rate < 1 else np.ones(examples, bool)
    return torch.from_numpy(np.flatnonzero(chosen))


def padded_sample(inputs: Tensor, size: int, source: NoiseSource) -> tuple[Tensor, Tensor]:
    """Return ``size`` random examples without replacement, filled up with zeros.

    They are drawn where the noise is: with an order that can be guessed, one example more would
    change all rows.

    Returns:
        The examples, `(size, *features)`, and which of them are real, `(size,)`.
    """
    # Random words sorted are a random order; stable, so that ties, rare as they are, fall alike.
    order = np.argsort(source.words(len(inputs)), kind="stable")
    chosen = torch.from_numpy(order[:size])
    rows = functional.pad(inputs[chosen].flatten(1), (0, 0, 0, size - len(chosen)))
    return rows.reshape(size, *inputs.shape[1:]), torch.arange(size) < len(chosen)


def in_slots(batch: Examples | Unlabelled, slots: int = SLOTS) -> Iterator[tuple[Examples, int]]:
    """Yield the examples of ``batch`` in batches of ``slots``, and how many of each are real.

    The last one is filled up with zeros.  For libraries pick their kernels by the size of what they
    are given: in batches as long as they come, one example more changes the last bits of all
    others' gradients, and with those what a ReLU or a pool lets through.  In batches of one size
    an example's gradient is its own, whoever is beside it and wherever it stands.  Where there are
    no labels they are zeros.
    """
    all_labels = labelled_with_zeros(batch).labels
    for first in range(0, len(batch), slots):
        inputs = batch.inputs[first : first + slots]
        labels = all_labels[first : first + slots]
        count, padding = len(labels), slots - len(labels)
        if padding:
            inputs = torch.cat([inputs, inputs.new_zeros(padding, *inputs.shape[1:])])
            labels = torch.cat([labels, labels.new_zeros(padding, *labels.shape[1:])])
        yield Examples(inputs, labels), count


def labelled_with_zeros(examples: Examples | Unlabelled) -> Examples:
    """Return ``examples`` in the form that gradients are made of; a target's labels are zeros."""
    if isinstance(examples, Examples):
        return examples
    return Examples(examples.inputs, torch.zeros(len(examples), dtype=torch.int64))
