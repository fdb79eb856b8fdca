"""Data and models of the speed workloads, for fedsim and for peers in PyTorch."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fedsim.data.dataset import Dataset
from fedsim.models._split import SplitModel
from fedsim.models.convnet import ConvNet

sys.path.insert(0, str(Path(__file__).parent))

from workloads import WORKLOADS, Workload


@dataclass(frozen=True)
class Synthetic:
    """As many examples as a workload's clients hold."""

    workload: str = "W1m"

    def load(self, seed: int, folder: Path) -> Dataset:
        work, generator = WORKLOADS[self.workload], np.random.default_rng(seed)
        count, shape = work.clients * work.examples, (work.planes, work.side, work.side)
        inputs = generator.integers(0, 256, (count, *shape), np.uint8)
        labels = generator.integers(0, 10, count)
        return Dataset(inputs, labels, inputs[:100], labels[:100], classes=10)


class Net(SplitModel):
    """A workload's model."""

    def __init__(self, shape: tuple[int, ...], classes: int, *, workload: str = "W1m") -> None:
        work = WORKLOADS[workload]
        body, width = body_of(work)
        super().__init__(body, width, classes)


def body_of(work: Workload) -> tuple[nn.Module, int]:
    """Return everything but the last layer, and what that one is given."""
    if work.width:
        whole = ConvNet((work.planes, work.side, work.side), 10, width=work.width)
        return nn.Sequential(*whole.body, nn.Flatten()), whole.head.in_features
    if work.hidden:
        flat = nn.Linear(work.side**2, work.hidden)
        return nn.Sequential(nn.Flatten(), flat, nn.ReLU()), work.hidden
    first, second = work.channels
    layers: list[nn.Module] = []
    for before, after in ((1, first), (first, second)):
        layers += [nn.Conv2d(before, after, work.kernel, padding=work.padding), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
    layers += [nn.Flatten(), nn.Linear(work.flat, 128), nn.ReLU()]
    return nn.Sequential(*layers), 128


def bare(work: Workload) -> nn.Module:
    """Return the model as anybody would write it."""
    body, width = body_of(work)
    layers = [nn.AvgPool2d(2) if isinstance(one, nn.AvgPool2d) else one for one in body]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def tensors(work: Workload) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs `(clients, examples, 1, side, side)` and labels `(clients, examples)`."""
    generator = torch.Generator().manual_seed(1)
    shape = (work.clients, work.examples, work.planes, work.side, work.side)
    return (
        torch.randn(shape, generator=generator),
        torch.randint(10, shape[:2], generator=generator),
    )


@functools.cache
def held(name: str) -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """Return a workload's model and tensors, made once in each process."""
    torch.set_num_threads(1)
    return bare(WORKLOADS[name]), tensors(WORKLOADS[name])
