"""From many to one: exact sums that no order, chunk or number of workers can change.

Floating-point addition depends on the order of its terms; integer addition does not.  Each
term is therefore rounded once, by itself, to a fixed grid and added as integers: two int64
limbs, the upper on multiples of ``2**-16`` and the lower on multiples of ``2**-60``, so that a
term up to ``2**30`` keeps everything that float64 can say of it down to ``2**-60``.

``median`` and ``trimmed_mean`` compare the clients coordinate by coordinate and need them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fedsim.wire import Addend, ClientId, Merged, Update, Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LIMIT", "ExactSum", "Sums", "median", "trimmed_mean"]

LIMIT = 2.0**30
"""The largest absolute value of a term; 2**17 terms of that size still fit the upper limb."""

UPPER, LOWER = 2.0**16, 2.0**60
RATIO = 2**44
CARRY_AFTER = 2**17
"""Each term adds at most ``2**43`` to the lower limb, so that many stay within ``2**60``."""


class ExactSum:
    """The sum of ``weight * value`` over clients, the same in any order."""

    def __init__(self) -> None:
        self.upper: dict[str, Tensor] = {}
        self.lower: dict[str, Tensor] = {}
        self._units = 0  # the weights' sum in units of 2**-60, a Python integer: exact
        self._terms = 0  # terms in the lower limb since the last carry

    @classmethod
    def of(cls, addend: Addend) -> ExactSum:
        """Return the sum of one term.

        Raises:
            ValueError: if the term is not finite, or above :data:`LIMIT`.
        """
        one = cls()
        for name, value in addend.value.items():
            one.upper[name], one.lower[name] = _limbs(name, value, addend.weight)
        one._units, one._terms = round(addend.weight * LOWER), 1
        return one

    @property
    def weight(self) -> float:
        """What the weights of the terms sum to."""
        return self._units / LOWER

    def merge(self, other: ExactSum) -> None:
        """Add the sum of other clients.

        Raises:
            ValueError: if its names or shapes are not those of the terms before it.
        """
        self.check(other)
        for name, limb in other.upper.items():
            if name in self.upper:
                self.upper[name] += limb
                self.lower[name] += other.lower[name]
            else:
                self.upper[name], self.lower[name] = limb.clone(), other.lower[name].clone()
        self._units += other._units
        self._terms += other._terms
        if self._terms >= CARRY_AFTER:
            self._carry()

    def check(self, other: ExactSum) -> None:
        """Raise the error that :meth:`merge` would, and change nothing."""
        ours = {name: limb.shape for name, limb in self.upper.items()}
        theirs = {name: limb.shape for name, limb in other.upper.items()}
        if ours and ours != theirs:
            wrong = sorted(dict(ours.items() ^ theirs.items()))
            raise ValueError(f"names or shapes differ from the other clients': {', '.join(wrong)}")

    def _carry(self) -> None:
        """Move whole multiples of the upper grid out of the lower limb; the value is the same."""
        for name, lower in self.lower.items():
            whole = lower.div(RATIO, rounding_mode="floor")
            self.upper[name] += whole
            lower -= whole * RATIO
        self._terms = 1

    def total(self) -> Weights:
        """Return the sum, each tensor in float64."""
        self._carry()  # One representation for one value, whenever it was carried before.
        return {
            name: upper.double() / UPPER + self.lower[name].double() / LOWER
            for name, upper in self.upper.items()
        }

    def mean(self) -> Weights:
        """Return the sum over the sum of the weights, each tensor in float64.

        Raises:
            ValueError: if no term carries any weight.
        """
        if self.weight <= 0:
            raise ValueError("cannot average: no update carries any weight")
        return {name: value / self.weight for name, value in self.total().items()}


def _limbs(name: str, value: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    import torch

    term = value.to(torch.float64, copy=True).mul_(weight)
    if term.numel():
        low, high = torch.aminmax(term)  # NaN if any is, and comparisons with NaN are false
        if not (low.item() >= -LIMIT and high.item() <= LIMIT):
            raise ValueError(f"{name}: not finite, or larger than 2**30 after weighting")
    upper = (term * UPPER).round_()
    lower = term.sub_(upper, alpha=1 / UPPER).mul_(LOWER).round_()  # exact up to the rounding
    return upper.long(), lower.long()


class Sums:
    """The named sums of a cohort, or of one chunk of it."""

    def __init__(self) -> None:
        self.by_name: dict[str, ExactSum] = {}
        self.clients: list[ClientId] = []

    def add(self, client: ClientId, addends: Mapping[str, Addend]) -> None:
        """Add what one client contributes; all of it or, if it raises, nothing.

        Raises:
            ValueError: if a term cannot be summed; see :meth:`ExactSum.of`.
        """
        parts = {name: ExactSum.of(addend) for name, addend in addends.items()}
        self._merge(parts)
        self.clients.append(client)

    def merge(self, other: Sums) -> None:
        """Add another chunk's sums."""
        self._merge(other.by_name)
        self.clients.extend(other.clients)

    def _merge(self, parts: Mapping[str, ExactSum]) -> None:
        for name, part in parts.items():
            self.by_name.setdefault(name, ExactSum()).check(part)
        for name, part in parts.items():
            self.by_name[name].merge(part)

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
