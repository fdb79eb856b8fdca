"""The server's test split, cut off where a source has none of its own."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from fedsim.data.dataset import Array, Dataset
from fedsim.data.dataset_checks import names_in
from fedsim.data.split import cut
from fedsim.data.strata import strata_of
from fedsim.errors import DataError
from fedsim.seeds import numpy_stream

__all__ = ["hold_out", "in_floats"]


def in_floats(dataset: Dataset) -> Dataset:
    """Return the data set with bytes divided by 255, in both splits: a shift adds fractions.

    Raises:
        DataError: if inputs are several arrays, which no shift takes.
    """
    if names := names_in(dataset.inputs):
        message = f"the inputs are {', '.join(names)}: a feature shift changes one array"
        raise DataError(message)
    if dataset.inputs.dtype != np.uint8:
        return dataset
    test = dataset.test_inputs
    return replace(
        dataset,
        inputs=dataset.inputs / np.float32(255),
        test_inputs=None if test is None else test / np.float32(255),
    )


def hold_out(dataset: Dataset, share: Fraction, seed: int) -> tuple[Dataset, Array]:
    """Return the data set with a test split, and the rows of the source that it trains on.

    Args:
        dataset: where it has a test split, it is returned as it is.
        share: of the examples, that becomes the test split, stratified.
        seed: the scenario's root seed.
    """
    everything = np.arange(len(dataset))
    if dataset.test_inputs is not None or not share:
        return dataset, everything
    generator = numpy_stream(seed, "server_test")
    remaining, test = cut(strata_of(dataset), [share], generator)
    if not len(test):
        return dataset, everything
    reduced = dataset.subset(
        remaining,
        test_inputs=dataset.inputs[test],
        test_labels=dataset.labels[test],
        test_domain=None if dataset.domain is None else dataset.domain[test],
        test_weight=None if dataset.weight is None else dataset.weight[test],
    )
    return reduced, remaining
