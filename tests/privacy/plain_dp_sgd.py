"""DP-SGD as the paper writes it, example by example: an oracle, and a text to read.

Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, arXiv:1607.00133, Algorithm 1;
the denominator is public, the expected batch size, as neighbours that differ by one example need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fedsim.client import Examples

Noise = Callable[[Tensor], Tensor]
"""From a sum of clipped gradients, flat, to the same with Gaussian noise."""


def plain_dp_sgd(
    model: nn.Module, examples: Examples, batches: Sequence[Tensor], clip: float, noise: Noise
) -> Callable[[float, int], None]:
    """Return what takes the steps of ``batches`` in place, given the rate and the denominator."""

    def steps(lr: float, denominator: int) -> None:
        parameters = list(model.parameters())
        for batch in batches:  # "Take a random sample L_t with sampling probability L/N"
            total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
            for place in batch.tolist():
                logits = model(examples.inputs[place : place + 1])
                loss = nn.functional.cross_entropy(logits, examples.labels[place : place + 1])
                gradients = torch.autograd.grad(loss, parameters)  # "Compute gradient g_t(x_i)"
                flat = torch.cat([g.flatten() for g in gradients]).double()
                total += flat / max(1.0, float(flat.norm()) / clip)  # "Clip gradient"
            mean = noise(total) / denominator  # "Add noise"
            start = 0
            with torch.no_grad():
                for parameter in parameters:  # "Descent"
                    part = mean[start : start + parameter.numel()]
                    parameter.sub_(lr * part.view_as(parameter).float())
                    start += parameter.numel()

    return steps
