"""The 150 irises that come with scikit-learn: no download.

Licence: CC BY 4.0, as the UCI repository gives it.

References:
    Fisher, "The Use of Multiple Measurements in Taxonomic Problems", Annals of Eugenics 7(2), 1936;
    two rows differ from UCI's file, as scikit-learn says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedsim.data.sources._embedded import Embedded

__all__ = ["Iris"]


@dataclass(frozen=True)
class Iris(Embedded):
    """Three kinds of iris by their leaves in cm; inputs have the shape ``(150, 4)``."""

    rows: ClassVar[int] = 150
    columns: ClassVar[tuple[str, ...]] = (
        "sepal length",
        "sepal width",
        "petal length",
        "petal width",
    )
    class_names: ClassVar[tuple[str, ...]] = ("setosa", "versicolor", "virginica")
    file: ClassVar[str] = "iris.csv"
