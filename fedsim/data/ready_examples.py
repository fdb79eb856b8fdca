"""Stored examples as tensors that a model takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from fedsim.client import Examples
from fedsim.data.dataset import Array
from fedsim.data.scale import Scaling
from fedsim.named_tensors import NamedTensors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ready_examples"]


def ready_examples(
    arrays: Mapping[str, Array],
    scale: Scaling,
    rows: slice | Array,
    split: Literal["", "test_"] = "",
    owner: int | Array = -1,
) -> Examples:
    """Return the stored examples at ``rows``, normalised; all tensors are copies.

    Args:
        arrays: as :mod:`fedsim.data.store` has them.
        scale: that inputs are read on.
        rows: which.
        split: of the clients' examples, or of the server's.
        owner: whose they are, or whose each is, ``(n,)``; -1: the server's.
    """
    import torch

    # All are copies: torch warns of a mapping that cannot be written to.
    raw = arrays[f"{split}inputs"][rows]
    inputs: Tensor | NamedTensors
    if raw.dtype.names:
        parts = scale.normalised_fields(raw, owner)
        inputs = NamedTensors({name: torch.from_numpy(part) for name, part in parts.items()})
    else:
        inputs = torch.from_numpy(scale.normalised(raw, owner))
    labels = np.array(arrays[f"{split}labels"][rows])
    weight = arrays.get(f"{split}weight")
    weights = None if weight is None else torch.from_numpy(np.array(weight[rows]))
    # Rules that look into their inputs are refused where these have names.
    return Examples(cast("Tensor", inputs), torch.from_numpy(labels), weights)
