"""Training on the server, on labelled images that clients sent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedsim.seeds import seeded_layers
from fedsim.strategy import Server

__all__ = ["Rule", "train_on"]


@dataclass(frozen=True)
class Rule:
    """SGD from rest."""

    lr: float
    epochs: int
    batch_size: int
    momentum: float
    weight_decay: float


def train_on(images: Tensor, labels: Tensor, weight: Tensor, server: Server, rule: Rule) -> None:
    """Train ``server.model`` in place on ``weight * cross-entropy``.

    Args:
        images: `(n, *features)`.
        labels: `(n,)`, int64.
        weight: `(n,)`, of mean 1.
        server: the model, which starts from what it holds, and the stream to draw from.
        rule: how.
    """
    model = server.model.train()
    parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
    device = parameters[0].device
    images, labels, weight = images.to(device), labels.to(device), weight.to(device)
    velocity = [torch.zeros_like(p) for p in parameters]
    with seeded_layers(server.generator, device):
        for _ in range(rule.epochs):
            order = torch.randperm(len(labels), generator=server.generator).to(device)
            for batch in torch.split(order, rule.batch_size):
                losses = cross_entropy(model(images[batch]), labels[batch], reduction="none")
                gradients = torch.autograd.grad((losses * weight[batch]).mean(), parameters)
                _step(parameters, gradients, velocity, rule)


@torch.no_grad()
def _step(
    parameters: list[Tensor],
    gradients: tuple[Tensor, ...],
    velocity: list[Tensor],
    rule: Rule,
) -> None:
    decayed = torch._foreach_add(gradients, parameters, alpha=rule.weight_decay)
    torch._foreach_mul_(velocity, rule.momentum)
    torch._foreach_add_(velocity, decayed)
    torch._foreach_add_(parameters, velocity, alpha=-rule.lr)
