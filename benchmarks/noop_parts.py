"""A client that does nothing, and data for a thousand of them: what is left is the framework."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fedsim.client import Examples
from fedsim.data.dataset import Dataset
from fedsim.wire import Instruction, Update


@dataclass(frozen=True)
class Noop:
    """Returns a delta as large as the model, without any work."""

    delta: float = 0.0
    """Each of its numbers."""

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        sent = instruction.broadcast.weights
        delta = {name: torch.full_like(value, self.delta) for name, value in sent.items()}
        return Update(instruction.client.id, delta, len(examples), {"loss": 0.0})


@dataclass(frozen=True)
class OneEach:
    """``clients`` examples of ``width`` numbers."""

    clients: int = 1000
    width: int = 312

    def load(self, seed: int, folder: Path) -> Dataset:
        labels = np.arange(self.clients, dtype=np.int64) % 2
        inputs = np.zeros((self.clients, self.width), np.float32)
        return Dataset(inputs, labels, inputs[:2], labels[:2], classes=2)
