"""Models whose examples' gradients are held against each other."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from fedsim.models.convnet import ConvNet
from fedsim.models.lenet import LeNet
from fedsim.models.mlp import MLP
from fedsim.seeds import torch_defaults

SHAPE = (3, 12, 12)


def smooth_net() -> nn.Module:
    """Return activations whose last bits a processor's vectors decide about, in odd numbers."""
    return nn.Sequential(
        nn.Conv2d(3, 7, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(7, 11, 3),
        nn.ELU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(44, 10),
    )


NETS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: MLP(SHAPE, 10, hidden=(20, 15)),
    "linear": lambda: MLP(SHAPE, 10, hidden=()),
    "convnet": lambda: ConvNet(SHAPE, 10, width=8, depth=2),
    "in groups": lambda: ConvNet(SHAPE, 10, width=8, depth=2, norm="group"),
    "no norm": lambda: ConvNet(SHAPE, 10, width=8, depth=1, norm="none"),
    "lenet": lambda: LeNet(SHAPE, 10, channels=(8, 12), kernel=3),
    "wide": lambda: LeNet(SHAPE, 10, channels=(32, 64), hidden=(128,), kernel=3),
    "smooth": smooth_net,
}


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Return the same model each time."""
    with torch_defaults(3, "model"):
        return make()
