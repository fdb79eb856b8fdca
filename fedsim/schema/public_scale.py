"""Constants that inputs are normalised by, where a scenario says them."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Gt, MinLen
from pydantic import Field

from fedsim.schema.part import Section

__all__ = ["PublicScale"]


class PublicScale(Section):
    """Constants that everybody knows beforehand, to normalise inputs by."""

    mean: Annotated[tuple[float, ...], MinLen(1), Field(strict=False)]
    """For each channel of pictures or column of a table, or one for all; bytes count as 0 to 1."""
    std: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1), Field(strict=False)]
    """Likewise."""
