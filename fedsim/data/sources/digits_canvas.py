"""Several of scikit-learn's handwritten digits on one canvas: which there are, or where.

Licence: CC BY 4.0, as the UCI repository gives the digits; the canvases are ours.

References:
    Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository 1998.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Le

from fedsim.data.header import FieldSpec, Header

if TYPE_CHECKING:
    from numpy.random import Generator

    from fedsim.data.dataset import Array, Dataset

__all__ = ["DigitsCanvas"]

SIDE, CELL = 16, 8
PLACES = ((0, 0), (0, CELL), (CELL, 0), (CELL, CELL))
INK = 0.35
"""How dark a pixel is from which on it belongs to its digit, from 0 to 1."""


@dataclass(frozen=True)
class DigitsCanvas:
    """Canvases of 16 x 16 pixels with up to four digits, one in each quarter, and noise.

    Every digit is used for one canvas at most, so training and test share none.
    """

    labels: Literal["marks", "masks"] = "marks"
    """marks: which of the ten digits are there, for multilabel; masks: for each pixel, 0 for paper
    or 1 + the digit whose ink it is, for segmentation."""
    digits: Annotated[int, Ge(1), Le(4)] = 2
    """How many digits there are on a canvas."""
    noise: Annotated[float, Ge(0)] = 0.1
    """Standard deviation of the noise on every pixel, where ink is 1."""

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the canvases: as many as the 1,797 digits are enough for."""
        import numpy as np

        from fedsim.data.dataset import Dataset
        from fedsim.data.sources.digits import Digits
        from fedsim.seeds import numpy_stream

        source, generator = Digits().load(seed, folder), numpy_stream(seed, "source")
        count = len(source) // self.digits
        chosen = generator.permutation(len(source))[: count * self.digits].reshape(count, -1)
        canvas, mask = _drawn(source.inputs[:, 0], source.labels, chosen, generator)
        canvas += generator.normal(0, self.noise, canvas.shape)
        marks = np.zeros((count, 10), bool)
        np.put_along_axis(marks, source.labels[chosen], True, axis=1)
        is_mask = self.labels == "masks"
        return Dataset(
            inputs=canvas[:, None].astype(np.float32),
            labels=mask if is_mask else marks,
            test_inputs=None,
            test_labels=None,
            classes=11 if is_mask else 0,
            class_names=("paper", *"0123456789") if is_mask else (),
            target_names=() if is_mask else tuple("0123456789"),
        )

    def peek(self, folder: Path) -> Header:
        """Return what is known of the canvases."""
        is_mask = self.labels == "masks"
        return Header(
            fields={"inputs": FieldSpec("float32", (1, SIDE, SIDE), "image")},
            targets=FieldSpec("int64", (SIDE, SIDE)) if is_mask else FieldSpec("bool", (10,)),
            rows=1797 // self.digits,
            test_rows=0,
            classes=11 if is_mask else 0,
            has_clients=False,
            has_domains=False,
        )


def _drawn(
    images: Array, labels: Array, chosen: Array, generator: Generator
) -> tuple[Array, Array]:
    """Return canvases and masks, both `(n, 16, 16)`."""
    import numpy as np

    canvas = np.zeros((len(chosen), SIDE, SIDE))
    mask = np.zeros((len(chosen), SIDE, SIDE), np.int64)
    for at, digits in enumerate(chosen):
        for place, digit in zip(generator.permutation(4), digits, strict=False):
            top, left = PLACES[place]
            region = (at, slice(top, top + CELL), slice(left, left + CELL))
            canvas[region] = images[digit]
            mask[region] = np.where(images[digit] > INK, labels[digit] + 1, 0)
    return canvas, mask
