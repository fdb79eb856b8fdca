"""The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn: no download.

Licence: CC BY 4.0, as the UCI repository gives them.

References:
    Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository 1998.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fedsim.data.header import FieldSpec, Header
from fedsim.data.packages import needed_by

if TYPE_CHECKING:
    from fedsim.data.dataset import Array, Dataset

__all__ = ["Digits"]


@dataclass(frozen=True)
class Digits:
    """Optical recognition of handwritten digits (Alpaydin and Kaynak, UCI 1998), its test part.

    Inputs have the shape ``(1797, 1, 8, 8)``, in [0, 1].  There is no official test split:
    ``holdout.server_test`` says how much the server keeps.
    """

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the digits; both arguments are of no account."""
        import numpy as np

        from fedsim.data.dataset import Dataset

        table = _table()  # (1797, 65)
        return Dataset(
            inputs=(table[:, :-1].reshape(-1, 1, 8, 8) / 16).astype(np.float32),
            labels=table[:, -1].astype(np.int64),
            test_inputs=None,
            test_labels=None,
            classes=10,
            class_names=tuple("0123456789"),
        )

    def peek(self, folder: Path) -> Header:
        """Return what is known of the digits."""
        return Header(
            fields={"inputs": FieldSpec("float32", (1, 8, 8), "image")},
            targets=FieldSpec("int64", (), "classes"),
            rows=1797,
            test_rows=0,
            classes=10,
            has_clients=False,
            has_domains=False,
        )


def _table() -> Array:
    """Return the digits as scikit-learn's file has them: 64 pixels, 0 to 16, and the label.

    The file is read without importing the package, which takes longer than all the rest.
    """
    import numpy as np

    spec = find_spec("sklearn")
    if spec is not None and spec.origin is not None:
        file = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            return np.loadtxt(file, delimiter=",")
    with needed_by("source 'digits'"):  # not there, or somewhere else in another version
        from sklearn.datasets import load_digits
    pixels, labels = load_digits(return_X_y=True)
    return np.column_stack([pixels, labels])
