"""Models at a fixed distance from the server's, on which images are matched.

FedDM draws ``delta ~ N(0, I)`` cut off at ``|delta| <= rho``.  Of ``P`` parameters such a vector
has a length of density ``r^(P-1) exp(-r^2/2)`` on ``[0, rho]``: from 3,000 parameters on its mean
is above ``0.9997 rho`` at ``rho = 5``, so the law is that of the sphere, which needs no rejection.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["Sphere"]


class Sphere:
    """Moves a model, in place, to random places at ``radius`` from where it was.

    Every parameter takes part, those of norms and of the head too; buffers do not.

    Args:
        model: its parameters are moved.
        radius: Euclidean, over all parameters together; 0 leaves the model where it is.
    """

    def __init__(self, model: nn.Module, radius: float) -> None:
        self.model = model
        self._radius = radius
        self._moved = [parameter.detach() for parameter in model.parameters()]
        self._centre = [parameter.clone() for parameter in self._moved]
        self._sizes = [parameter.numel() for parameter in self._moved]

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._centre[0].device

    def move(self, generator: torch.Generator) -> None:
        """Draw another place; ``generator`` is a generator of the model's device."""
        delta = torch.randn(sum(self._sizes), generator=generator, device=self.device)
        delta *= self._radius / delta.norm()
        for target, centre, part in zip(
            self._moved, self._centre, torch.split(delta, self._sizes), strict=True
        ):
            torch.add(centre, part.view_as(centre), out=target)
