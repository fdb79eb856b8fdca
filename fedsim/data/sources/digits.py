"""The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn: no download.

Licence: CC BY 4.0, as the UCI repository gives them.

References:
    Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository 1998.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedsim.data.dataset import Dataset
from fedsim.data.packages import needed_by

__all__ = ["Digits"]


@dataclass(frozen=True)
class Digits:
    """Optical recognition of handwritten digits (Alpaydin and Kaynak, UCI 1998), its test part.

    Inputs have the shape ``(1797, 1, 8, 8)``, in [0, 1].  There is no official test split:
    ``holdout.server_test`` says how much the server keeps.
    """

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the digits; both arguments are of no account."""
        with needed_by("source 'digits'"):
            from sklearn.datasets import load_digits
        pixels, labels = load_digits(return_X_y=True)
        return Dataset(
            inputs=(pixels.reshape(-1, 1, 8, 8) / 16).astype(np.float32),
            labels=labels.astype(np.int64),
            test_inputs=None,
            test_labels=None,
            classes=10,
            class_names=tuple("0123456789"),
        )
