"""From many to one: exact sums that no order, chunk or number of workers can change.

Floating-point addition depends on the order of its terms; integer addition does not.  Each
term is therefore rounded once, by itself, to a fixed grid and added as integers: two limbs, the
upper in multiples of ``2**-16`` and the lower in multiples of ``2**-60``, so that a term up to
``2**30`` keeps everything that float64 can say of it down to ``2**-60``.

``median`` and ``trimmed_mean`` compare the clients coordinate by coordinate and need them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fedsim.wire import Addend, ClientId, Merged, Update, Weights

if TYPE_CHECKING:
    from torch import Size, Tensor

__all__ = ["LIMIT", "ExactSum", "Sums", "median", "trimmed_mean"]

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

Layout = tuple[tuple[str, "Size"], ...]


class ExactSum:
    """The sum of ``weight * value`` over clients, the same in any order.

    All tensors of a term lie one after the other in one buffer.  Recent terms are added as
    floats, which is exact for a few, and then put to the integers.
    """

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._limbs: list[Tensor] = []  # upper and lower, int64
        self._recent: list[Tensor] = []  # the last few terms and their fractions, float64
        self._term: Tensor | None = None  # the one at hand, in units of the upper limb, float64
        self._places: list[Tensor] = []  # where in it each tensor goes
        self._placed: Layout = ()
        self._is_small = True
        self._units = 0  # the weights' sum in units of 2**-60, a Python integer: exact
        self._unflushed = self._uncarried = 0

    def __getstate__(self) -> dict[str, object]:
        self._flush()
        return {**self.__dict__, "_recent": [], "_term": None, "_places": []}

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
            self._placed = layout
            sizes = [math.prod(shape) for _, shape in layout]
            self._term = torch.empty(sum(sizes), dtype=torch.float64)
            parts = zip(torch.split(self._term, sizes), layout, strict=True)
            self._places = [part.view(shape) for part, (_, shape) in parts]
        for place, (name, _) in zip(self._places, layout, strict=True):
            place.copy_(addend.value[name])
        term = self._term.mul_(addend.weight * UPPER)
        self._is_small = torch.dot(term, term).item() <= SMALL**2  # false with a NaN
        if not self._is_small:
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
        if not self._is_small:
            self._absorb(_limbs(self._term), 1)
            return
        if not self._recent:
            self._recent = [torch.zeros_like(self._term) for _ in range(2)]
        whole, fractions = self._recent
        whole.add_(self._term)
        # The sign in turns, so that every other term takes away what the one before brought.
        sign = 1 if self._unflushed % 2 else -1
        fractions.add_(self._term.frac_().add_(sign * ROUND))
        self._unflushed += 1
        if self._unflushed >= FLUSH_AFTER:
            self._flush()

    def merge(self, other: ExactSum) -> None:
        """Add the sum of other clients.

        Raises:
            ValueError: if its names or shapes are not those of the terms before it.
        """
        self.check(other)
        self._flush()
        other._flush()
        if other._limbs:
            self._layout = other._layout
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
            whole, fractions = self._recent
            if self._unflushed % 2:
                fractions.add_(ROUND)
            upper = whole.sub_(fractions).round_().long()
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
        whole = lower.div(RATIO, rounding_mode="floor")
        upper += whole
        lower -= whole * RATIO
        self._uncarried = 1

    def total(self) -> Weights:
        """Return the sum, each tensor in float64."""
        self._flush()
        if not self._limbs or self._layout is None:
            return {}
        self._carry()  # One representation for one value, whenever it was carried before.
        upper, lower = self._limbs
        flat = upper.double() / UPPER + lower.double() / LOWER
        found: Weights = {}
        start = 0
        for name, shape in self._layout:
            end = start + math.prod(shape)
            found[name] = flat[start:end].view(shape)
            start = end
        return found

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


class Sums:
    """The named sums of a cohort, or of one chunk of it."""

    def __init__(self) -> None:
        self.by_name: dict[str, ExactSum] = {}
        self.clients: list[ClientId] = []

    def add(self, client: ClientId, addends: Mapping[str, Addend]) -> None:
        """Add what one client contributes; all of it or, if it raises, nothing.

        Raises:
            ValueError: if a term cannot be summed; see :meth:`ExactSum.prepare`.
        """
        sums = {name: self.by_name.get(name) or ExactSum() for name in addends}
        for name, addend in addends.items():
            sums[name].prepare(addend)
        for name, addend in addends.items():
            sums[name].commit(addend)
        self.by_name.update(sums)
        self.clients.append(client)

    def merge(self, other: Sums) -> None:
        """Add another chunk's sums.

        Raises:
            ValueError: if two sums of one name have other tensors; nothing is changed then.
        """
        for name, part in other.by_name.items():
            self.by_name.setdefault(name, ExactSum()).check(part)
        for name, part in other.by_name.items():
            self.by_name[name].merge(part)
        self.clients.extend(other.clients)

    def merged(self) -> Merged:
        """Return the means over all that was added.

        Raises:
            ValueError: if a mean's weights sum to zero.
        """
        return Merged(
            means={name: part.mean() for name, part in sorted(self.by_name.items())},
            weights={name: part.weight for name, part in sorted(self.by_name.items())},
            clients=tuple(sorted(self.clients)),
        )


def median(updates: Sequence[Update]) -> Weights:
    """Return the coordinate-wise median of the deltas (Yin et al., ICML 2018, Algorithm 1).

    Raises:
        ValueError: if there is no update.
    """

    def middle(stacked: Tensor) -> Tensor:  # (clients, *shape)
        ordered = stacked.sort(dim=0).values
        return (ordered[(len(stacked) - 1) // 2] + ordered[len(stacked) // 2]) / 2

    return _reduce_stacked(updates, middle)


def trimmed_mean(updates: Sequence[Update], trim: int) -> Weights:
    """Return each coordinate's mean without its ``trim`` lowest and highest values.

    Yin et al., ICML 2018, Algorithm 1, Option II.

    Raises:
        ValueError: if there is no update, or trimming leaves none.
    """

    def middle(stacked: Tensor) -> Tensor:  # (clients, *shape)
        if 2 * trim >= len(stacked):
            raise ValueError(f"trimming {trim} off each end leaves none of {len(stacked)} updates")
        return stacked.sort(dim=0).values[trim : len(stacked) - trim].mean(dim=0)

    return _reduce_stacked(updates, middle)


def _reduce_stacked(updates: Iterable[Update], reduce: Callable[[Tensor], Tensor]) -> Weights:
    import torch

    deltas = [update.delta for update in updates]
    if not deltas:
        raise ValueError("cannot aggregate: there is no update")
    return {
        name: reduce(torch.stack([delta[name].double() for delta in deltas])) for name in deltas[0]
    }
