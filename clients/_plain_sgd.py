"""A local update rule whose own phases move no weights, with SGD for the references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import nn

from fedsim.client import Client, Examples
from fedsim.clients.sgd import Sgd
from fedsim.wire import Instruction, Update

__all__ = ["PlainSgd"]


@dataclass(frozen=True, kw_only=True)
class PlainSgd(Client):
    """A half whose own verbs move no weights."""

    lr: Annotated[float, Gt(0)] = 0.1
    """Step size of the references, which train with plain SGD, without privacy."""
    epochs: Annotated[int, Ge(1)] = 1
    """Passes over the examples in one round of the references."""
    batch_size: Annotated[int, Ge(1)] = 32
    """Examples per step of the references."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Momentum of the references' steps."""

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Train by plain SGD on the client's own examples: what the references do."""
        rule = Sgd(self.lr, self.epochs, self.batch_size, self.momentum)
        return rule.train(model, examples, instruction, generator)
