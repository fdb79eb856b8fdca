"""Sums of floats that no order, chunk or number of workers can change.

Floating-point addition depends on the order of its terms; integer addition does not.  Each
term is therefore rounded once, by itself, to a fixed grid and added as integers: two limbs, the
upper in multiples of ``2**-16`` and the lower in multiples of ``2**-60``, so that a term up to
``2**30`` keeps everything that float64 can say of it down to ``2**-60``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any

from fedsim.wire import Addend, Weights

if TYPE_CHECKING:
    from torch import Size, Tensor

__all__ = ["LIMIT", "ExactSum"]

LIMIT = 2.0**30
"""The largest absolute value of a term; 2**17 terms of that size still fit the upper limb."""

UPPER, LOWER = 2.0**16, 2.0**60
RATIO = 2**44
ROUND = 1.5 * 2.0**8
"""Adding this to a fraction of a float64 rounds it to multiples of ``1 / RATIO``, half to even:
that is what the sum's last bit is worth.  Faster than rounding, and the same.
"""

FLUSH_AFTER = 64
"""So many fractions on that grid, and ``ROUND``, are exact in a float64 of 53 bits."""
SMALL = 2.0**38
"""Up to here, ``2**22`` after weighting, the float64 sum of so many terms is off by less than a
quarter, and with the exact sum of their fractions it tells the whole numbers between them."""
CARRY_AFTER = 2**17
"""Each term adds at most ``2**44`` to the lower limb, so that many stay within ``2**61``."""

LARGE = 4096
"""Numbers in a tensor from which on it pays to see whether all of them are zero."""

Layout = tuple[tuple[str, "Size"], ...]


class ExactSum:
    """The sum of ``weight * value`` over clients, the same in any order.

    All tensors of a term lie one after the other in one buffer.  Recent terms are added as
    floats, which is exact for a few, and then put to the integers.  Large tensors that are zero
    in every term, as those of layers that are not trained, are left out.
    """

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._limbs: list[Tensor] = []  # upper and lower, int64
        self._recent: list[Tensor] = []  # the last few terms and their fractions, float64
        self._term: Tensor | None = None  # the one at hand, in units of the upper limb, float64
        self._places: list[Tensor] = []  # where in it each tensor goes
        self._starts: list[int] = []  # the number in it that each tensor begins with
        self._placed: Layout = ()
        self._moved: list[bool] = []  # which tensors were not zero in some term
        self._runs: list[slice] = []  # where in a term these lie
        self._largest: int | None = None  # the largest tensor, once all were moved
        self._is_small = self._is_zero = True  # the term at hand
        self._units = 0  # the weights' sum in units of 2**-60, a Python integer: exact
        self._unflushed = self._uncarried = 0

    def __getstate__(self) -> dict[str, object]:
        self._flush()
        # Arrays of NumPy's travel between processes without being copied into the message.
        limbs = [limb.numpy() for limb in self._limbs]
        return {**self.__dict__, "_recent": [], "_term": None, "_places": [], "_limbs": limbs}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import torch

        limbs = [torch.from_numpy(limb.copy()) for limb in state["_limbs"]]
        self.__dict__.update(state, _limbs=limbs)

    @property
    def weight(self) -> float:
        """What the weights of the terms sum to."""
        return self._units / LOWER

    def prepare(self, addend: Addend) -> None:
        """Weight and check one client's term; :meth:`commit` adds it.

        Raises:
            ValueError: if the term is not finite, above :data:`LIMIT`, or of other names or
                shapes than the terms before it; nothing is changed then.
        """
        import torch

        layout = _layout(addend)
        self._check(layout)
        if self._term is None or self._placed != layout:
            self._term = self._laid_out(layout)
        values, scale = [addend.value[name] for name, _ in layout], addend.weight * UPPER
        # Most terms are like this; Python's own steps are dear between passes over so much memory.
        is_usual = self._largest is not None and _is_moved(values[self._largest])
        self._is_zero = False
        if not is_usual:
            self._widen(_moved(values) if math.isfinite(scale) else [True] * len(values))
        if self._is_zero:
            return
        for place, value, is_moved in zip(self._places, values, self._moved, strict=True):
            if is_moved:
                place.copy_(value)
        terms, square = [], 0.0
        for run in self._runs:
            terms.append(term := self._term[run].mul_(scale))
            square += torch.dot(term, term).item()
        self._is_small = square <= SMALL**2  # false with a NaN
        for term in () if self._is_small else terms:
            low, high = torch.aminmax(term)
            if not (low.item() >= -LIMIT * UPPER and high.item() <= LIMIT * UPPER):
                raise ValueError(
                    f"{_worst(addend)}: not finite, or larger than 2**30 after weighting"
                )

    def commit(self, addend: Addend) -> None:
        """Add the term that was prepared last.

        Raises:
            ValueError: if none was.
        """
        import torch

        if self._term is None:
            raise ValueError("no term was prepared")
        if self._layout is None:
            self._layout = _layout(addend)
        self._units += round(addend.weight * LOWER)
        if self._is_zero:
            return
        if not self._is_small:
            self._absorb(_limbs(self._term), 1)
            return
        if not self._recent:
            self._recent = [torch.zeros_like(self._term) for _ in range(2)]
        # The sign in turns, so that every other term takes away what the one before brought.
        sign = 1 if self._unflushed % 2 else -1
        for run in self._runs:
            wholes, fractions, term = (buffer[run] for buffer in (*self._recent, self._term))
            wholes.add_(term)
            fractions.add_(term.frac_().add_(sign * ROUND))
        self._unflushed += 1
        if self._unflushed >= FLUSH_AFTER:
            self._flush()

    def _laid_out(self, layout: Layout) -> Tensor:
        """Return room for a term."""
        import torch

        sizes = [math.prod(shape) for _, shape in layout]
        term = torch.zeros(sum(sizes), dtype=torch.float64)
        parts = zip(torch.split(term, sizes), layout, strict=True)
        self._places = [part.view(shape) for part, (_, shape) in parts]
        self._starts, self._placed = [0, *accumulate(sizes)], layout
        self._flush()
        self._moved, self._runs, self._largest = [False] * len(sizes), [], None
        return term

    def _widen(self, moved: Sequence[bool]) -> None:
        """Take into account which tensors the term at hand has moved."""
        self._is_zero = not any(moved)
        if any(new and not old for new, old in zip(moved, self._moved, strict=True)):
            self._flush()  # the terms until now had other runs
            self._moved = [new or old for new, old in zip(moved, self._moved, strict=True)]
            groups = groupby(range(len(moved)), key=self._moved.__getitem__)
            tensors = [list(group) for is_moved, group in groups if is_moved]
            self._runs = [slice(self._starts[of[0]], self._starts[of[-1] + 1]) for of in tensors]
            if all(self._moved):
                self._largest = max(range(len(moved)), key=lambda at: self._places[at].numel())

    def merge(self, other: ExactSum) -> None:
        """Add the sum of other clients.

        Raises:
            ValueError: if its names or shapes are not those of the terms before it.
        """
        self.check(other)
        self._flush()
        other._flush()
        if other._layout is not None:
            self._layout = other._layout
        if other._limbs:
            self._absorb(other._limbs, other._uncarried)
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
        if self._unflushed:
            wholes, fractions = self._recent
            for run in self._runs if self._unflushed % 2 else ():
                fractions[run].add_(ROUND)
            upper = wholes.sub_(fractions).round_().long()
            lower = fractions.mul_(RATIO).long()
            for recent in self._recent:
                recent.zero_()
            count, self._unflushed = self._unflushed, 0
            self._absorb((upper, lower), count)

    def _absorb(self, limbs: Sequence[Tensor], terms: int) -> None:
        if not self._limbs:
            self._limbs = [limb.clone() for limb in limbs]
        else:
            for ours, theirs in zip(self._limbs, limbs, strict=True):
                ours += theirs
        self._uncarried += terms
        if self._uncarried >= CARRY_AFTER:
            self._carry()

    def _carry(self) -> None:
        """Move whole multiples of the upper grid out of the lower limb; the value is the same."""
        upper, lower = self._limbs
        carried = lower.div(RATIO, rounding_mode="floor")
        upper += carried
        lower -= carried * RATIO
        self._uncarried = 1

    def total(self) -> Weights:
        """Return the sum, each tensor in float64."""
        import torch

        self._flush()
        if self._layout is None:
            return {}
        if not self._limbs:
            return {n: torch.zeros(shape, dtype=torch.float64) for n, shape in self._layout}
        self._carry()  # One representation for one value, whenever it was carried before.
        upper, lower = self._limbs
        flat = upper.double() / UPPER + lower.double() / LOWER
        totals: Weights = {}
        start = 0
        for name, shape in self._layout:
            end = start + math.prod(shape)
            totals[name] = flat[start:end].view(shape)
            start = end
        return totals

    def mean(self) -> Weights:
        """Return the sum over the sum of the weights, each tensor in float64.

        Raises:
            ValueError: if no term carries any weight.
        """
        if self.weight <= 0:
            raise ValueError("cannot average: no update carries any weight")
        return {name: value / self.weight for name, value in self.total().items()}


def _layout(addend: Addend) -> Layout:
    return tuple((name, value.shape) for name, value in sorted(addend.value.items()))


def _moved(values: Sequence[Tensor]) -> list[bool]:
    """Return for each tensor whether it may hold anything but zeros.

    Small ones are looked at where a large one holds nothing else.
    """
    large = {at: _is_moved(value) for at, value in enumerate(values) if value.numel() >= LARGE}
    if all(large.values()):
        return [True] * len(values)
    return [large[at] if at in large else _is_moved(v) for at, v in enumerate(values)]


def _is_moved(value: Tensor) -> bool:
    import torch

    if value.dtype not in (torch.float32, torch.float64) or not value.is_cpu:
        return True
    numbers = value.detach().numpy().reshape(-1)
    # Where anything moved, the first few numbers mostly did: NumPy would look at all of them.
    return bool(numbers[:LARGE].any() or numbers.any())


def _limbs(term: Tensor) -> tuple[Tensor, Tensor]:
    """Return a term in units of the upper limb as two limbs, the lower rounded half to even."""
    return term.trunc().long(), term.frac().mul_(RATIO).round_().long()


def _worst(addend: Addend) -> str:
    """Return the first tensor's name that is not finite or too large."""
    bad = (
        name
        for name, value in addend.value.items()
        if not bool(((value.double() * addend.weight).abs() <= LIMIT).all())
    )
    return next(bad, "a tensor")
