"""Plain SGD, for halves that make something else than weights: what the references train with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn

from fedsim.client import Examples
from fedsim.clients.sgd import Sgd
from fedsim.wire import Task, Update

__all__ = ["Plain"]


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A half whose own verbs move no weights."""

    lr: Annotated[float, Gt(0)] = 0.1
    """Of plain SGD, which the references train with, without privacy."""
    epochs: Annotated[int, Ge(1)] = 1
    """Of the references, per round."""
    batch_size: Annotated[int, Ge(1)] = 32
    """Of the references."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Of the references."""

    def train(
        self, model: nn.Module, examples: Examples, task: Task, draws: torch.Generator
    ) -> Update:
        """Train by plain SGD on the client's own examples: what the references do."""
        rule = Sgd(self.lr, self.epochs, self.batch_size, self.momentum)
        return rule.train(model, examples, task, draws)
