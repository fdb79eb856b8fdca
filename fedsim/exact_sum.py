"""Sums of floats that no order, chunk or number of workers can change.

Floating-point addition depends on the order of its terms; integer addition does not.  Each
term is therefore rounded once, by itself, to a fixed grid and added as integers: two limbs, the
upper in multiples of ``2**-16`` and the lower in multiples of ``2**-60``, so that a term up to
``2**30`` keeps everything that float64 can say of it down to ``2**-60``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.limbs import LOWER, RATIO, UPPER, Limbs
from fedsim.term_buffer import Layout, TermBuffer, layout_of
from fedsim.wire import Addend, Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LIMIT", "ExactSum", "PreparedTerm"]

LIMIT = 2.0**30
"""The largest absolute value of a term; 2**17 terms of that size still fit the upper limb."""

ROUND = 1.5 * 2.0**8
"""Adding this to a fraction of a float64 rounds it to multiples of ``1 / RATIO``, half to even:
that is what the sum's last bit is worth.  Faster than rounding, and the same.
"""

FLUSH_AFTER = 64
"""So many fractions on that grid, and ``ROUND``, are exact in a float64 of 53 bits."""
SMALL = 2.0**38
"""Up to here, ``2**22`` after weighting, the float64 sum of so many terms is off by less than a
quarter, and with the exact sum of their fractions it tells the whole numbers between them."""


@dataclass(frozen=True)
class PreparedTerm:
    """A client's term, weighted and checked; its numbers lie in the sum's buffer."""

    buffer: TermBuffer
    units: int
    """Its weight in multiples of ``2**-60``: a Python integer, so sums of them are exact."""
    is_small: bool = False
    """Whether a few such terms may be added as floats."""
    is_zero: bool = False
    """Whether it adds nothing but its weight."""


class ExactSum:
    """The sum of ``weight * value`` over clients, the same in any order.

    Recent terms are added as floats, which is exact for a few, and then put to the integers.
    """

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._limbs: Limbs | None = None  # none while no term was but zero
        self._recent: list[Tensor] = []  # the last few terms and their fractions, float64
        self._buffer: TermBuffer | None = None  # for the term at hand, in units of the upper limb
        self._units = 0  # the weights' sum in units of 2**-60, a Python integer: exact
        self._unflushed = 0

    def __getstate__(self) -> dict[str, object]:
        self._flush()
        return {**self.__dict__, "_recent": [], "_buffer": None}

    @property
    def weight(self) -> float:
        """What the weights of the terms sum to."""
        return self._units / LOWER

    def prepare(self, addend: Addend) -> PreparedTerm:
        """Weight and check one client's term; :meth:`commit` adds it.

        The term lies in a buffer that the next one overwrites, so that a client costs no memory.

        Raises:
            ValueError: if the term is not finite, above :data:`LIMIT`, or of other names or
                shapes than the terms before it; nothing is changed then.
        """
        layout = layout_of(addend.value)
        self._check(layout)
        if self._buffer is None or self._buffer.layout != layout:
            self._flush()
            self._buffer = TermBuffer(layout)
        buffer = self._buffer
        values, scale = [addend.value[name] for name, _ in layout], addend.weight * UPPER
        is_nonzero = buffer.moved_by(values) if math.isfinite(scale) else [True] * len(values)
        if buffer.is_wider(is_nonzero):
            self._flush()  # the terms until now had other runs
            buffer.widen(is_nonzero)
        if not any(is_nonzero):
            return PreparedTerm(buffer, round(addend.weight * LOWER), is_zero=True)
        buffer.fill(values)
        is_small = _weighted(buffer, scale, addend)
        return PreparedTerm(buffer, round(addend.weight * LOWER), is_small)

    def commit(self, prepared: PreparedTerm) -> None:
        """Add the term that :meth:`prepare` returned last."""
        import torch

        term, runs = prepared.buffer.term, prepared.buffer.runs
        if self._layout is None:
            self._layout = prepared.buffer.layout
        self._units += prepared.units
        if prepared.is_zero:
            return
        if not prepared.is_small:
            self._absorb(Limbs.of(term))
            return
        # Two sums of the same terms: of whole numbers and of fractions.  The first alone would lose
        # its last bits as it grows; with the second they are known again when it is flushed.
        if not self._recent:
            self._recent = [torch.zeros_like(term) for _ in range(2)]
        # The sign in turns, so that every other term takes away what the one before brought.
        sign = 1 if self._unflushed % 2 else -1
        for run in runs:
            wholes, fractions, part = (numbers[run] for numbers in (*self._recent, term))
            wholes.add_(part)
            fractions.add_(part.frac_().add_(sign * ROUND))
        self._unflushed += 1
        if self._unflushed >= FLUSH_AFTER:
            self._flush()

    def merge(self, other: ExactSum) -> None:
        """Add the sum of other clients.

        Raises:
            ValueError: if its names or shapes are not those of the terms before it.
        """
        self.check(other)  # first: a sum that is refused must leave this one as it is
        self._flush()
        other._flush()
        if other._layout is not None:
            self._layout = other._layout
        if other._limbs is not None:
            self._absorb(other._limbs)
        self._units += other._units

    def check(self, other: ExactSum) -> None:
        """Raise the error that :meth:`merge` would, and change nothing."""
        if other._layout is not None:
            self._check(other._layout)

    def _check(self, layout: Layout) -> None:
        if self._layout is not None and layout != self._layout:
            wrong = ", ".join(sorted({name for name, _ in set(layout) ^ set(self._layout)}))
            raise ValueError(f"names or shapes differ from the other clients': {wrong}")

    def _flush(self) -> None:
        """Put the recent terms to the integers."""
        if not self._unflushed or self._buffer is None:
            return
        wholes, fractions = self._recent
        if self._unflushed % 2:  # of an odd number of terms one still has its ROUND taken away
            for run in self._buffer.runs:
                fractions[run].add_(ROUND)
        # What is left after the fractions is whole but for less than a quarter: see SMALL.
        upper = wholes.sub_(fractions).round_().long()
        lower = fractions.mul_(RATIO).long()
        for recent in self._recent:
            recent.zero_()
        count, self._unflushed = self._unflushed, 0
        self._absorb(Limbs(upper, lower, count))

    def _absorb(self, limbs: Limbs) -> None:
        if self._limbs is None:
            self._limbs = limbs.copy()
        else:
            self._limbs.add(limbs)

    def total(self) -> Weights:
        """Return the sum, each tensor in float64."""
        import torch

        self._flush()
        if self._layout is None:
            return {}
        if self._limbs is None:
            return {n: torch.zeros(shape, dtype=torch.float64) for n, shape in self._layout}
        sizes = [math.prod(shape) for _, shape in self._layout]
        parts = zip(self._layout, torch.split(self._limbs.floats(), sizes), strict=True)
        return {name: part.view(shape) for (name, shape), part in parts}

    def mean(self) -> Weights:
        """Return the sum over the sum of the weights, each tensor in float64.

        Raises:
            ValueError: if no term carries any weight.
        """
        if self.weight <= 0:
            raise ValueError("cannot average: no update carries any weight")
        return {name: value / self.weight for name, value in self.total().items()}


def _weighted(buffer: TermBuffer, scale: float, addend: Addend) -> bool:
    """Multiply the term at hand by ``scale``; return whether it may be added as floats.

    Raises:
        ValueError: if it is not finite, or above :data:`LIMIT`.
    """
    import torch

    parts, square = [], 0.0
    for run in buffer.runs:
        # Weighted here, in the buffer: the client's tensors stay what they were, and need no copy.
        parts.append(part := buffer.term[run].mul_(scale))
        square += torch.dot(part, part).item()
    is_small = square <= SMALL**2  # false with a NaN
    # A small norm bounds every number, so only the rare large term is looked at once more.
    for part in () if is_small else parts:
        low, high = torch.aminmax(part)
        if not (low.item() >= -LIMIT * UPPER and high.item() <= LIMIT * UPPER):
            raise ValueError(f"{_worst(addend)}: not finite, or larger than 2**30 after weighting")
    return is_small


def _worst(addend: Addend) -> str:
    """Return the first tensor's name that is not finite or too large."""
    bad = (
        name
        for name, value in addend.value.items()
        if not bool(((value.double() * addend.weight).abs() <= LIMIT).all())
    )
    return next(bad, "a tensor")
