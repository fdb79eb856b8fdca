"""The digits of scikit-learn in several domains: the same signs, drawn in unlike ways.

Licence: CC BY 4.0, as the UCI repository gives the digits; the changes are ours.

References:
    Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository 1998.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import MinLen

from fedsim.data.dataset import Array, Dataset
from fedsim.data.image_transforms import blurred, rotated
from fedsim.data.sources.digits import Digits
from fedsim.data.split import cut, stratified
from fedsim.errors import DataError
from fedsim.seeds import numpy_stream

__all__ = ["DigitsDomains"]

_TEST = Fraction(1, 5)

Domain = Literal["plain", "rotated", "inverted", "blurred", "contrast"]


@dataclass(frozen=True)
class DigitsDomains:
    """Every digit belongs to one domain, drawn by the seed, and so is one fifth kept for testing.

    ``rotated`` by 45 degrees, ``inverted`` ink and paper, ``blurred`` by a 3x3 mean, ``contrast``
    faded to a quarter around middle grey.  Domains and test split hold every class in
    proportion.
    """

    domains: Annotated[tuple[Domain, ...], MinLen(1)] = (
        "plain",
        "rotated",
        "inverted",
        "blurred",
        "contrast",
    )

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the digits of all domains; ``folder`` is of no account.

        Raises:
            DataError: if a domain is named twice.
        """
        if len(set(self.domains)) < len(self.domains):
            raise DataError(f"domains {', '.join(self.domains)}: each may be named once")
        digits = Digits().load(seed, folder)
        generator = numpy_stream(seed, "digits_domains")
        train, test = [], []
        order = stratified(digits.labels, generator)
        for domain, rows in zip(
            self.domains, np.array_split(order, len(self.domains)), strict=True
        ):
            digits.inputs[rows] = _drawn(digits.inputs[rows], domain)
            rest, test_rows = cut(digits.labels[rows], [_TEST], generator)
            train.append(rows[rest])
            test.append(rows[test_rows])
        return replace(
            digits,
            inputs=digits.inputs[np.concatenate(train)],
            labels=digits.labels[np.concatenate(train)],
            test_inputs=digits.inputs[np.concatenate(test)],
            test_labels=digits.labels[np.concatenate(test)],
            domain=np.repeat(np.arange(len(train)), [len(rows) for rows in train]),
            test_domain=np.repeat(np.arange(len(test)), [len(rows) for rows in test]),
            domain_names=tuple(self.domains),
        )


def _drawn(images: Array, domain: Domain) -> Array:
    """Return images in [0, 1] as ``domain`` draws them."""
    if domain == "rotated":
        return rotated(images, 45)
    if domain == "inverted":
        return 1 - images
    if domain == "blurred":
        return blurred(images)
    if domain == "contrast":
        return np.float32(0.375) + images / 4
    return images
