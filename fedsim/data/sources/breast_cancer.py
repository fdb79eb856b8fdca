"""The 569 tumours of Wisconsin that come with scikit-learn: no download.

Licence: CC BY 4.0, as the UCI repository gives it.

References:
    Street, Wolberg, Mangasarian, "Nuclear Feature Extraction for Breast Tumor Diagnosis",
    SPIE 1905, 1993.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedsim.data.sources._embedded import Embedded

__all__ = ["BreastCancer"]


@dataclass(frozen=True)
class BreastCancer(Embedded):
    """Malignant (0) or benign (1), by thirty measures of cell nuclei.

    Inputs have the shape ``(569, 30)``: mean, standard error and worst of ten measures.
    """

    task: ClassVar[str] = "binary"
    rows: ClassVar[int] = 569
    columns: ClassVar[tuple[str, ...]] = tuple(
        f"{which} {measure}"
        for which in ("mean", "error of", "worst")
        for measure in (
            "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity",
            "concave points", "symmetry", "fractal dimension",
        )
    )  # fmt: skip
    class_names: ClassVar[tuple[str, ...]] = ("malignant", "benign")
    file: ClassVar[str] = "breast_cancer.csv"
