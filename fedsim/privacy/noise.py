"""Gaussian privacy noise whose low bits reveal nothing: float64, on a grid, from a named source.

Floating-point noise gives its input away: not every double is a sum ``x + n`` for a given
``x``, so some outputs prove what the input was (Mironov, "On significance of the least
significant bits for differential privacy", CCS 2012).  Here the noise is rounded to a grid and
what it is added to lies on that grid already, so that

    ``x + round(n) == round(x + n)``  exactly, for every ``x`` on the grid:

what is released is the ideal Gaussian mechanism, rounded afterwards, and rounding is
post-processing.  The grid depends on the standard deviation alone, never on data.  Sums that
do not lie on the grid are rounded after the noise is added, see :func:`perturbed`.

Each normal takes 64 bits.  In :func:`gaussian` they are a sign and 63 bits of a tail probability,
so that every cell of the grid can be hit up to 6.9 standard deviations out (beyond: probability
5e-12); :func:`perturbed` makes two normals of two words.  How long the arithmetic takes is not
hidden: no timing attack is defended against.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from fedsim.seeds import generator_from, numpy_generator, numpy_stream

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = [
    "NoiseSource",
    "Rng",
    "SecureNoise",
    "SimulatedNoise",
    "gaussian",
    "grid",
    "noisy",
    "perturbed",
    "secret_generator",
    "snap",
    "source_of",
]

Rng = Literal["secure", "simulation"]
"""Where noise comes from: the operating system, or the scenario's seed."""

FINENESS = 24
"""Cells of the grid in one standard deviation, as a power of two."""

BLOCK = 16384
"""Numbers that are made at once: as many as stay in a core's own cache."""


class NoiseSource(Protocol):
    """Where the bits of noise come from."""

    @property
    def rng(self) -> Rng:
        """What kind it is, for the record."""
        ...

    def words(self, count: int) -> NDArray[np.uint64]:
        """Return ``count`` further words of 64 uniform bits, `(count,)`."""
        ...


class SecureNoise:
    """The operating system's cryptographic generator; no seed of an experiment reaches it."""

    rng: Rng = "secure"

    def words(self, count: int) -> NDArray[np.uint64]:
        """Return ``count`` words of a ChaCha20 stream, `(count,)`.

        Its key, 256 bits, comes from :func:`os.urandom` for this call alone and is kept nowhere.
        That is what Linux does in a call, too (``drivers/char/random.c``), but not with a
        processor's vectors: 80,000 words take 0.2 ms in place of 1.8.
        """
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

        stream = Cipher(algorithms.ChaCha20(os.urandom(32), bytes(16)), mode=None).encryptor()
        return np.frombuffer(stream.update(bytes(8 * count)), np.uint64)


class SimulatedNoise:
    """A named stream of the scenario's seed: the same noise in every run, so no protection."""

    rng: Rng = "simulation"

    def __init__(self, generator: np.random.Generator) -> None:
        self._draws = generator

    @classmethod
    def at(cls, root: int, name: str, *where: int) -> SimulatedNoise:
        """Return the stream ``name`` at ``where`` (a round, an attempt, ...)."""
        return cls(numpy_stream(root, name, *where))

    @classmethod
    def of(cls, generator: torch.Generator) -> SimulatedNoise:
        """Return a stream that starts from a client's own draws of this turn."""
        import torch

        seed = int(torch.randint(2**63 - 1, (), generator=generator))
        return cls(numpy_generator(seed))

    def words(self, count: int) -> NDArray[np.uint64]:
        """Return the stream's next ``count`` words, `(count,)`."""
        raw: NDArray[np.uint64] = self._draws.bit_generator.random_raw(count)
        return raw


def source_of(rng: Rng, generator: torch.Generator) -> NoiseSource:
    """Return the source of a client's noise in one turn.

    Args:
        rng: what the scenario's ``privacy.rng`` says.
        generator: the client's own stream, which only ``simulation`` touches.
    """
    return SecureNoise() if rng == "secure" else SimulatedNoise.of(generator)


def secret_generator(source: NoiseSource) -> torch.Generator:
    """Return a generator that nobody can guess: known masks of dropout would tell places."""
    return generator_from(int(source.words(1)[0] >> np.uint64(1)))


def grid(std: float) -> float:
    """Return the distance of the grid's points for noise of ``std``: a power of two.

    >>> grid(1.0) == 2.0**-24
    True
    """
    return 2.0 ** (math.floor(math.log2(std)) - FINENESS) if std > 0 else 2.0**-40


def snap(value: Tensor, step: float) -> Tensor:
    """Return ``value`` in float64 on the grid of ``step``, rounded towards zero.

    Towards zero, because then no norm grows: what was clipped stays clipped.
    """
    return (value.double() / step).trunc_().mul_(step)


def gaussian(like: Tensor, std: float, source: NoiseSource) -> Tensor:
    """Return noise alone: float64, of ``like``'s shape and device, on ``grid(std)``.

    Add it to what :func:`snap` put on the same grid, or let :func:`noisy` do both: added to
    anything else, its low bits would give that away.

    Raises:
        ValueError: if ``std`` is negative or not finite.
    """
    import torch

    _check(std)
    if std == 0:
        return torch.zeros_like(like, dtype=torch.float64)
    step = grid(std)
    cells = torch.from_numpy(_normals(source.words(like.numel()))).mul_(std / step).round_()
    return cells.mul_(step).reshape(like.shape).to(like.device)


def noisy(value: Tensor, std: float, source: NoiseSource) -> Tensor:
    """Return ``value``, snapped to the grid, plus noise: float64, every output on ``grid(std)``.

    Snapping towards zero moves two neighbours by less than a cell in each coordinate, which is
    ``std * 2**-24``; what must keep its sensitivity to the last bit is snapped term by term
    before it is summed, or given to :func:`perturbed`.
    """
    return snap(value, grid(std)) + gaussian(value, std, source)


def perturbed(value: Tensor, std: float, source: NoiseSource) -> Tensor:
    """Return ``round(value + n)``: float64, every output on ``grid(std)``.

    ``value`` may lie anywhere and keeps its sensitivity, for nothing is done to it before the
    noise is added.  What is released is a function of the real number ``value + n``, of which
    float64 addition, too, is a rounding.  ``n`` is a radius of 63 bits times the cosine or sine of
    an angle of 64, so wherever in a cell ``value`` lies, every cell up to 9 standard deviations out
    is hit by many of the numbers that ``n`` can be: no output is proof of a value.

    Raises:
        ValueError: if ``std`` is negative or not finite.
    """
    import torch

    _check(std)
    if std == 0:
        return value.double()
    step, flat = grid(std), value.detach().cpu().double().flatten()
    noisy_values = torch.empty_like(flat)
    for first in range(0, len(noisy_values), BLOCK):
        part = noisy_values[first : first + BLOCK]
        normals = _pairs(source.words(len(part) + len(part) % 2))[: len(part)]
        torch.add(flat[first : first + BLOCK], normals, alpha=std, out=part)
        part.mul_(1 / step).round_().mul_(step)
    return noisy_values.reshape(value.shape).to(value.device)


def _check(std: float) -> None:
    if not (math.isfinite(std) and std >= 0):
        raise ValueError(f"noise of standard deviation {std}")


def _normals(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return one standard normal for each word: the lowest bit its sign, the rest its tail."""
    import torch

    normals = np.empty(len(words))
    for first in range(0, len(words), BLOCK):
        block, tail = words[first : first + BLOCK], normals[first : first + BLOCK]
        # Below 2**63 a word is the same signed, which a processor converts faster.
        tail[:] = (block >> np.uint64(1)).view(np.int64)
        tail += 0.5
        tail *= 2.0**-64  # in (0, 1/2]
        size = torch.from_numpy(tail)
        torch.special.ndtri(size, out=size)  # <= 0
        tail.view(np.uint64)[:] ^= block << np.uint64(63)
    return normals


def _pairs(words: NDArray[np.uint64]) -> Tensor:
    """Return one standard normal for each word, of an even number: two from two, independent.

    One word gives a radius, up to 9.4, the other an angle (Box and Muller, "A note on the
    generation of random normal deviates", 1958).  It takes half the time of :func:`_normals`.
    """
    import torch

    half = len(words) // 2
    tail = torch.from_numpy((words[:half] >> np.uint64(1)).view(np.int64).astype(np.float64))
    radius = tail.add_(0.5).mul_(2.0**-63).log_().mul_(-2).sqrt_()
    angle = torch.from_numpy(words[half:].view(np.int64).astype(np.float64))
    angle.mul_(math.pi * 2.0**-63)
    return torch.cat([radius * angle.cos(), radius.mul_(angle.sin_())])
