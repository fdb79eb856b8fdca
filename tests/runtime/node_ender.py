"""A local update rule that ends its worker in one round, and in the next the whole node."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fedsim.client import Examples
from fedsim.clients.sgd import Sgd
from fedsim.wire import Instruction, Update


@dataclass(frozen=True)
class NodeEnder(Sgd):
    """Is ``sgd``, but for two turns that take place on the node whose ``TMPDIR`` is ``where``."""

    where: str = ""
    traces: str = ""
    """A folder: what was done once is not done again."""

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        update = super().train(model, examples, instruction, generator)
        trace = Path(self.traces, f"round {instruction.round}")
        if os.environ.get("TMPDIR") != self.where or instruction.round == 1 or trace.exists():
            return update
        trace.touch()
        if instruction.round == 2:
            os._exit(9)
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()  # until the worker sees that its node is no more
        return update
