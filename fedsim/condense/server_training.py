"""Training on the server, on labelled images that clients sent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedsim.optimizers.optimizer import Optimizer, gradients_of
from fedsim.seeds import seeded_layers
from fedsim.strategy import Server

__all__ = ["Rule", "train_on"]


@dataclass(frozen=True)
class Rule:
    """How the server trains, from rest."""

    optimizer: Optimizer
    epochs: int
    batch_size: int


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
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    weights = {name: parameter.detach() for name, parameter in trained.items()}
    device = next(iter(weights.values())).device
    images, labels, weight = images.to(device), labels.to(device), weight.to(device)
    optimizer, number = rule.optimizer, 0
    slots = optimizer.slots(weights)
    with seeded_layers(server.generator, device):
        for _ in range(rule.epochs):
            order = torch.randperm(len(labels), generator=server.generator).to(device)
            for batch in torch.split(order, rule.batch_size):
                losses = cross_entropy(model(images[batch]), labels[batch], reduction="none")
                gradients = gradients_of((losses * weight[batch]).mean(), trained)
                number += 1
                optimizer.step(weights, gradients, slots, optimizer.lr, number)
