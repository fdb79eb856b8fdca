"""SGD held near the weights that the server sent, as FedProx asks of its clients.

References:
    Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous
    Networks", MLSys 2020, arXiv:1812.06127, equation 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fedsim.clients.sgd import Correction, Sgd
from fedsim.messages import ProximalTerm
from fedsim.stacked.stacked_sgd import StackedCorrection
from fedsim.wire import Instruction, Weights

__all__ = ["Proximal", "strength"]


@dataclass(frozen=True)
class Proximal(Sgd):
    """SGD on ``loss(w) + mu/2 * ||w - w_server||^2``; without a ``mu`` it is SGD."""

    reads: ClassVar[frozenset[str]] = frozenset(ProximalTerm().to_settings())

    def correction(self, instruction: Instruction, weights: Weights) -> Correction | None:
        """Return what adds the gradient of the proximal term, ``mu * (w - w_server)``."""
        mu = strength(instruction)
        if mu == 0:
            return None
        anchor = {name: weight.clone() for name, weight in weights.items()}

        def hold(gradients: Weights) -> None:
            for name, gradient in gradients.items():
                gradient.add_(weights[name] - anchor[name], alpha=mu)

        return hold

    def stacked_correction(
        self, instructions: Sequence[Instruction], weights: Weights
    ) -> StackedCorrection | None:
        """Return the same for stacked weights, in one operation for all clients."""
        mu = strength(instructions[0])
        if any(strength(instruction) != mu for instruction in instructions):
            return super().stacked_correction(instructions, weights)
        if mu == 0:
            return None
        anchor = {name: weight[0].clone() for name, weight in weights.items()}

        def hold(gradients: Weights, count: int) -> None:
            for name, gradient in gradients.items():
                gradient.add_(weights[name][:count] - anchor[name], alpha=mu)

        return hold


def strength(instruction: Instruction) -> float:
    """Return ``mu`` as the server sent it."""
    return ProximalTerm.from_broadcast(instruction.broadcast).proximal_mu
