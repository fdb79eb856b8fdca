"""What the digits benchmark plugs in: its network, its deal, and ratios that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from fedsim.data.dataset import Array, Dataset
from fedsim.data.partitions.dirichlet import Dirichlet
from fedsim.models._split import SplitModel
from fedsim.strategies.iwcdan import Iwcdan
from fedsim.strategies.iwdan import Iwdan
from fedsim.strategies.iwjan import Iwjan
from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import Merged


class Digits(SplitModel):
    """Two convolutions and one hidden layer, with dropout after the second and the last."""

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int = 128) -> None:
        side = shape[-1] // 2
        side = (side - 2) // 2
        body = nn.Sequential(
            *(nn.Conv2d(shape[0], 16, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3), nn.Dropout2d(0.25), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(32 * side * side, width), nn.ReLU(), nn.Dropout(0.5)),
        )
        super().__init__(body, width, classes)


@dataclass(frozen=True)
class OneTarget:
    """Deals the first domain to ``sources`` clients by Dirichlet(1), the second to one."""

    sources: int = 1
    targets: tuple[str, ...] = ()

    def deal(self, dataset: Dataset, clients: int | None, seed: int) -> list[Array]:
        is_source = dataset.domain == 0
        rows, rest = np.flatnonzero(is_source), np.flatnonzero(~is_source)
        if self.sources == 1:
            return [rows, rest]
        own = replace(
            dataset,
            inputs=dataset.inputs[rows],
            labels=dataset.labels[rows],
            client=None,
            domain=None,
        )
        dealt = Dirichlet(alpha=1.0).deal(own, self.sources, seed)
        return [*(rows[part] for part in dealt), rest]


@dataclass(frozen=True)
class _Known(Strategy):
    """Puts the true ratios in the place of those that were found: no method, but a bound."""

    truth: tuple[float, ...] = ()

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        state = super().step(state, merged, server)
        found = state.memory.get("ratios", {})
        known = {pair: torch.tensor(self.truth, dtype=torch.float64) for pair in found}
        return replace(state, memory={**state.memory, "ratios": known}) if found else state


@dataclass(frozen=True)
class IwdanOracle(_Known, Iwdan):
    """IWDAN with the true ratios."""


@dataclass(frozen=True)
class IwcdanOracle(_Known, Iwcdan):
    """IWCDAN with the true ratios."""


@dataclass(frozen=True)
class IwjanOracle(_Known, Iwjan):
    """IWJAN with the true ratios."""


__all__: Sequence[str] = [
    "Digits",
    "IwcdanOracle",
    "IwdanOracle",
    "IwjanOracle",
    "OneTarget",
]
