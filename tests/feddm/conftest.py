"""A small split model, a client of three uneven classes, and one turn of the matching half."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fedsim.client import Examples
from fedsim.clients.matching import Matching
from fedsim.models._state import load_weights, weights_of
from fedsim.models.convnet import ConvNet
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction, Update

SIZES = {0: 23, 2: 9, 5: 31, 7: 12}
"""Examples by class; class 2 is below the usual minimum of ten."""


@pytest.fixture
def model() -> ConvNet:
    with torch_defaults(0, "model"):
        return ConvNet((1, 8, 8), 10, depth=2, width=4).eval()


@pytest.fixture
def held() -> Examples:
    generator = torch_stream(0, "held")
    labels = torch.cat([torch.full((n,), label) for label, n in SIZES.items()])
    labels = labels[torch.randperm(len(labels), generator=generator)]
    inputs = (
        torch.randn(len(labels), 1, 8, 8, generator=generator) + labels[:, None, None, None] / 4
    )
    return Examples(inputs, labels)


@pytest.fixture
def turn(model: ConvNet, held: Examples) -> Callable[..., Update]:
    """Return a function that lets a half match once: name its parameters."""

    def match(of: Examples = held, weighting: str = "none", **parameters: object) -> Update:
        half = Matching(**{"images_per_class": 3, "steps": 2, **parameters})  # type: ignore[arg-type]
        info = ClientInfo(4, len(of))
        first = weights_of(model)
        sent = Broadcast(first, settings={"weighting": weighting})
        update = half.match(
            model, of, Instruction(1, "match", info, sent), torch_stream(1, "client")
        )
        load_weights(model, first)
        return update

    return match
