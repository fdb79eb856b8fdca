"""How far a turn's steps go along a gradient of one, for SCAFFOLD and FedNova."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from fedsim.errors import RunError
from fedsim.optimizers.optimizer import Optimizer

__all__ = ["distance", "without_decay"]


def distance(optimizer: Optimizer, rates: Sequence[float], mu: float = 0.0) -> float:
    """Return how far ``optimizer`` moves a number whose gradient is one.

    It takes the very steps, so that momentum, schedule and proximal term are covered in any
    combination; weight decay counts as a part of the gradient, and is left out.

    Args:
        optimizer: one whose steps are linear in the gradients: others have no such distance.
        rates: the size of each step.
        mu: strength of a proximal term, whose gradient ``mu * (w - w_server)`` pulls back.

    Raises:
        RunError: if the steps are not linear.
    """
    import torch

    if not optimizer.linear:
        name = type(optimizer).__name__
        raise RunError(f"{name}: such steps are not linear in the gradient; sgd's are")
    place = {"w": torch.zeros((), dtype=torch.float64)}
    plain = without_decay(optimizer)
    slots = plain.slots(place)
    for number, lr in enumerate(rates, 1):
        plain.step(place, {"w": 1 + mu * place["w"]}, slots, lr, number)
    return -float(place["w"])


def without_decay(optimizer: Optimizer) -> Optimizer:
    """Return ``optimizer`` without weight decay, where it has any."""
    changed: dict[str, Any] = {
        field.name: 0.0 for field in fields(optimizer) if field.name == "weight_decay"
    }
    return replace(optimizer, **changed) if changed else optimizer
