"""How many: a count (``10``), a percentage (``10%``) or ``all``, in one value type."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from fedsim.schema.wording import Wording

__all__ = ["Amount", "Cohort", "CountOrShare", "Share"]

PERCENTAGE = re.compile(r"\d{1,3}(\.\d{1,6})?%")


@dataclass(frozen=True)
class CountOrShare:
    """A count, or a share of whatever there is.

    >>> Quantity("10%").of(50), Quantity(7).of(50), Quantity("all").of(50)
    (5, 7, 50)
    """

    written: int | str
    """As in the file: ``10``, ``"10%"`` or ``"all"``."""

    def __post_init__(self) -> None:
        if isinstance(self.written, str):
            is_percentage = PERCENTAGE.fullmatch(self.written) is not None and self.share <= 1
            is_right = is_percentage or self.written == "all"
        else:
            is_right = type(self.written) is int and self.written >= 1
        if not is_right:
            raise ValueError(f"no quantity: {self.written!r}")

    @property
    def is_count(self) -> bool:
        """Whether it says the same number of every total."""
        return isinstance(self.written, int)

    @property
    def share(self) -> Fraction:
        """The exact share of the total, between 0 and 1.

        Raises:
            ValueError: if it is a count.
        """
        if isinstance(self.written, int):
            raise ValueError(f"{self.written} is a count, not a share")
        return Fraction(1) if self.written == "all" else Fraction(self.written[:-1]) / 100

    def of(self, total: int, at_least: int = 0) -> int:
        """Return the number of ``total``: halves go up, and never more than ``total``.

        Args:
            total: how many there are.
            at_least: a share gives this many even where it comes to fewer.
        """
        if isinstance(self.written, int):
            return min(self.written, total)
        return min(total, max(at_least, math.floor(self.share * total + Fraction(1, 2))))

    def __str__(self) -> str:
        return str(self.written)


def _any_quantity(value: Any) -> CountOrShare:
    return value if isinstance(value, CountOrShare) else CountOrShare(value)


def _some(value: Any) -> CountOrShare:
    quantity = _any_quantity(value)
    if not quantity.is_count and quantity.share == 0:
        raise ValueError("0% is nobody")
    return quantity


def _count_or_percentage(value: Any) -> CountOrShare:
    quantity = _some(value)
    if quantity.written == "all":
        raise ValueError("write 100%")
    return quantity


def _percentage(value: Any) -> CountOrShare:
    quantity = _any_quantity(value)
    if quantity.is_count or quantity.written == "all" or quantity.share == 1:
        raise ValueError("no percentage below 100%")
    return quantity


_WRITTEN = PlainSerializer(lambda quantity: quantity.written)
_COUNT = {"type": "integer", "minimum": 1}
_PERCENT = {"type": "string", "pattern": r"^\d{1,3}(\.\d{1,6})?%$"}

Cohort = Annotated[
    CountOrShare,
    PlainValidator(_some),
    _WRITTEN,
    WithJsonSchema({"anyOf": [_COUNT, _PERCENT, {"const": "all"}]}),
    Wording("a count (10), a percentage (10%) or all"),
]
"""How many clients take part."""

Amount = Annotated[
    CountOrShare,
    PlainValidator(_count_or_percentage),
    _WRITTEN,
    WithJsonSchema({"anyOf": [_COUNT, _PERCENT]}),
    Wording("a count (10) or a percentage (10%)"),
]
"""How many of a cohort."""

Share = Annotated[
    CountOrShare,
    PlainValidator(_percentage),
    _WRITTEN,
    WithJsonSchema(_PERCENT),
    Wording("a percentage below 100% (20%)"),
]
"""A part of the examples."""
