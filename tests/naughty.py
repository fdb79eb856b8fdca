"""A local update rule that misbehaves on purpose, for tests of what becomes of such clients."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from fedsim.client import Examples
from fedsim.clients.sgd import Sgd
from fedsim.wire import Instruction, Update


@dataclass(frozen=True)
class Naughty(Sgd):
    """Does ``how`` when client ``who`` has its turn in round ``when``; else it is ``sgd``."""

    how: str = "raise"
    who: int = 1
    when: int = 2
    once: str = ""
    """A file: where it exists already the client behaves, and it is made on the first offence."""

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        update = super().train(model, examples, instruction, generator)
        if (instruction.client.id, instruction.round) != (self.who, self.when):
            return update
        if self.once:
            if Path(self.once).exists():
                return update
            Path(self.once).touch()
        return self._misbehave(update)

    def _misbehave(self, update: Update) -> Update:
        first = next(iter(update.delta))
        rest = {name: tensor for name, tensor in update.delta.items() if name != first}
        tensor = update.delta[first]
        match self.how:
            case "raise":
                raise ValueError("the sensor\nis broken")
            case "exit":
                sys.exit(3)
            case "die":
                os._exit(9)
            case "hang":
                time.sleep(600)
            case "spin":
                torch.zeros(1).lgamma_()
                while True:
                    pass
            case "no update":
                return dict(update.delta)  # type: ignore[return-value]
            case "nan":
                return replace(update, delta={**update.delta, first: tensor * float("nan")})
            case "inf metric":
                return replace(update, metrics={"loss": float("inf")})
            case "shape":
                return replace(update, delta={**update.delta, first: tensor[:1]})
            case "scalar":
                return replace(update, delta={**update.delta, first: torch.tensor(1000.0)})
            case "dtype":
                return replace(update, delta={**update.delta, first: tensor.double()})
            case "missing":
                return replace(update, delta=rest)
            case "all missing":
                return replace(update, delta={})
            case "extra":
                return replace(update, delta={**update.delta, "more": tensor})
            case "weight":
                return replace(update, examples=10**18)
            case "negative":
                return replace(update, examples=-5)
            case "huge":
                return replace(update, delta={**update.delta, first: tensor * 0 + 1e30})
        raise AssertionError(self.how)
