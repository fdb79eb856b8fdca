"""The 178 wines that come with scikit-learn: no download.

Licence: CC BY 4.0, as the UCI repository gives it.

References:
    Aeberhard, Forina, "Wine", UCI Machine Learning Repository 1992.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedsim.data.sources._embedded import Embedded

__all__ = ["Wine"]


@dataclass(frozen=True)
class Wine(Embedded):
    """Three growers by thirteen analyses of their wine; inputs have the shape ``(178, 13)``."""

    rows: ClassVar[int] = 178
    columns: ClassVar[tuple[str, ...]] = (
        "alcohol", "malic acid", "ash", "alcalinity of ash", "magnesium", "total phenols",
        "flavanoids", "nonflavanoid phenols", "proanthocyanins", "colour intensity", "hue",
        "od280/od315", "proline",
    )  # fmt: skip
    class_names: ClassVar[tuple[str, ...]] = ("class_0", "class_1", "class_2")
    file: ClassVar[str] = "wine_data.csv"
