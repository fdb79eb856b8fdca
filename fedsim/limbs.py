"""Vectors of float64 as two integers a number, which add up in any order.

Each number is a whole multiple of ``2**-16``, its upper limb, plus a multiple of ``2**-60``, its
lower limb.  Integer addition has no rounding, so neither order nor grouping changes a sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LOWER", "RATIO", "UPPER", "Limbs"]

UPPER, LOWER = 2.0**16, 2.0**60
RATIO = 2**44
CARRY_AFTER = 2**17
"""Each term adds at most ``2**44`` to the lower limb, so that many stay within ``2**61``."""


class Limbs:
    """A sum of vectors: `(numbers,)` int64, upper and lower."""

    def __init__(self, upper: Tensor, lower: Tensor, terms: int) -> None:
        """Hold a sum.

        Args:
            upper: in multiples of ``2**-16``.
            lower: in multiples of ``2**-60``.
            terms: how many numbers below ``2**-16`` each lower limb is made of.
        """
        self._upper, self._lower, self._uncarried = upper, lower, terms

    @classmethod
    def of(cls, term: Tensor) -> Limbs:
        """Return one term, in units of the upper limb; the lower is rounded half to even."""
        return cls(term.trunc().long(), term.frac().mul_(RATIO).round_().long(), 1)

    def __getstate__(self) -> dict[str, Any]:
        # Arrays of NumPy's travel between processes without being copied into the message.
        arrays = {"_upper": self._upper.numpy(), "_lower": self._lower.numpy()}
        return {**self.__dict__, **arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        import torch

        arrays = {name: torch.from_numpy(state[name].copy()) for name in ("_upper", "_lower")}
        self.__dict__.update(state, **arrays)

    def copy(self) -> Limbs:
        """Return the same in memory of its own."""
        return Limbs(self._upper.clone(), self._lower.clone(), self._uncarried)

    def add(self, other: Limbs) -> None:
        """Add another sum, in place."""
        self._upper += other._upper
        self._lower += other._lower
        self._uncarried += other._uncarried
        # Carried before the lower limb could leave the range of an int64.
        if self._uncarried >= CARRY_AFTER:
            self._carry()

    def _carry(self) -> None:
        """Move whole multiples of the upper grid out of the lower limb; the value is the same."""
        # Rounded down, so that what stays is never negative, whatever was added in which order.
        carried = self._lower.div(RATIO, rounding_mode="floor")
        self._upper += carried
        self._lower -= carried * RATIO
        self._uncarried = 1

    def floats(self) -> Tensor:
        """Return the sum, `(numbers,)` float64."""
        self._carry()  # One representation for one value, whenever it was carried before.
        return self._upper.double() / UPPER + self._lower.double() / LOWER
