"""The 442 patients of the LARS paper, from scikit-learn's files: a regression, no download.

Licence: as published by the paper's authors, for any use with citation.

References:
    Efron, Hastie, Johnstone, Tibshirani, "Least Angle Regression", Annals of Statistics 32(2),
    2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fedsim.data.sources._embedded import Embedded

if TYPE_CHECKING:
    from fedsim.data.dataset import Array

__all__ = ["Diabetes"]


@dataclass(frozen=True)
class Diabetes(Embedded):
    """Progress of a disease one year after ten measures were taken, in their own units.

    Inputs have the shape ``(442, 10)``; targets are 25 to 346.
    """

    task: ClassVar[str] = "regression"
    rows: ClassVar[int] = 442
    columns: ClassVar[tuple[str, ...]] = (
        "age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6",
    )  # fmt: skip
    target_names: ClassVar[tuple[str, ...]] = ("progression",)
    file: ClassVar[str] = "diabetes_data_raw.csv.gz"

    def arrays(self) -> tuple[Array, Array]:
        """Return the measures and the progress, which are in a file of their own."""
        return self.table(self.file), self.table("diabetes_target.csv.gz")
