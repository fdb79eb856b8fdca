"""Three exercises and three body measures of 20 men, from scikit-learn's files: no download.

Licence: as scikit-learn gives them (BSD-3-Clause).

References:
    Tenenhaus, "La regression PLS: theorie et pratique", Technic 1998, table 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fedsim.data.sources._embedded import Embedded

if TYPE_CHECKING:
    from fedsim.data.dataset import Array

__all__ = ["Linnerud"]


@dataclass(frozen=True)
class Linnerud(Embedded):
    """Weight, waist and pulse, from chin-ups, sit-ups and jumps: three targets at once.

    Inputs and targets have the shape ``(20, 3)``.
    """

    task: ClassVar[str] = "regression"
    rows: ClassVar[int] = 20
    columns: ClassVar[tuple[str, ...]] = ("Chins", "Situps", "Jumps")
    target_names: ClassVar[tuple[str, ...]] = ("Weight", "Waist", "Pulse")
    file: ClassVar[str] = "linnerud_exercise.csv"

    def arrays(self) -> tuple[Array, Array]:
        """Return the exercises and the measures, which are in a file of their own."""
        measures = self.table("linnerud_physiological.csv", skiprows=1)
        return self.table(self.file, skiprows=1), measures
