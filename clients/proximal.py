"""SGD held near the weights that the server sent, as FedProx asks of its clients.

References:
    Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous
    Networks", MLSys 2020, arXiv:1812.06127, equation 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from fedsim.clients.sgd import Sgd
from fedsim.messages import ProximalTerm
from fedsim.optimizers.optimizer import Correction, StackableCorrection
from fedsim.wire import Instruction, Weights

__all__ = ["Proximal", "strength"]


@dataclass(frozen=True)
class Proximal(Sgd):
    """SGD on ``loss(w) + mu/2 * ||w - w_server||^2``; without a ``mu`` it is SGD."""

    reads: ClassVar[frozenset[str]] = frozenset(ProximalTerm().to_settings())

    def correction(self, instruction: Instruction, weights: Weights) -> Correction | None:
        """Return what adds the gradient of the proximal term, ``mu * (w - w_server)``."""
        pull, sent = Pull(strength(instruction)), instruction.broadcast.weights
        anchor = {name: sent[name].to(weight.device) for name, weight in weights.items()}
        return StackableCorrection(pull, weights, anchor) if pull.mu else None


@dataclass(frozen=True)
class Pull:
    """The gradient of the proximal term, beside that of the loss."""

    mu: float

    def __call__(self, gradients: Weights, weights: Weights, anchor: Weights) -> Weights:
        """Return the sum of both gradients."""
        return {
            name: torch.add(gradient, weights[name] - anchor[name], alpha=self.mu)
            for name, gradient in gradients.items()
        }


def strength(instruction: Instruction) -> float:
    """Return ``mu`` as the server sent it."""
    return ProximalTerm.from_broadcast(instruction.broadcast).proximal_mu
