"""A domain discriminator, as named tensors, and the losses in which features deceive it.

A domain's loss is a sum over its own examples alone: no feature has to leave a client.

References:
    Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky,
    "Domain-Adversarial Training of Neural Networks", JMLR 2016, arXiv:1505.07818; Long, Cao,
    Wang, Jordan, "Conditional Adversarial Domain Adaptation", NeurIPS 2018, arXiv:1705.10667.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fedsim.seeds import torch_stream
from fedsim.wire import Weights

__all__ = [
    "certainty",
    "cut",
    "domain_logit",
    "domain_losses",
    "first_weights",
    "product",
    "ramp",
    "reverse",
    "unit_length",
]

LAYERS = 3


def first_weights(width: int, hidden: int, like: Tensor) -> Weights:
    """Return the discriminator's first weights: Xavier-normal, and biases of zero.

    Args:
        width: of what it judges.
        hidden: width of its two hidden layers.
        like: a tensor of the model at its start, of whose bits the draws are a function; so
            they follow the run's seed, which a strategy is not told.
    """
    generator = torch_stream(zlib.crc32(like.detach().cpu().numpy().tobytes()), "adversary")
    widths, weights = (width, hidden, hidden, 1), {}
    for layer in range(LAYERS):
        shape = widths[layer + 1], widths[layer]
        scale = math.sqrt(2 / sum(shape))
        drawn = scale * torch.randn(shape, generator=generator)
        weights[f"adversary.{layer}.weight"] = drawn.to(like.dtype)
        weights[f"adversary.{layer}.bias"] = torch.zeros(shape[0], dtype=like.dtype)
    return weights


def domain_logit(adversary: Weights, judged: Tensor, dropout: float = 0.0) -> Tensor:
    """Return the logit of "this is a source's", ``(n,)``, for rows of ``judged``, ``(n, width)``.

    Dropout, where there is any, draws from torch's default generator.
    """
    for layer in range(LAYERS):
        weight, bias = (adversary[f"adversary.{layer}.{part}"] for part in ("weight", "bias"))
        judged = F.linear(judged, weight, bias)
        if layer < LAYERS - 1:
            judged = F.dropout(judged.relu(), dropout)
    return judged.squeeze(1)


def domain_losses(logits: Tensor, is_source: bool) -> Tensor:
    """Return each row's cross-entropy with the domain it is of, in nats, `(n,)`."""
    return F.softplus(-logits if is_source else logits)


class _Reverse(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, strength: float) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.strength = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse(values: Tensor, strength: float) -> Tensor:
    """Return ``values``, through which gradients pass times ``-strength``."""
    reversed_values: Tensor = _Reverse.apply(values, strength)  # type: ignore[no-untyped-call]
    return reversed_values


def product(probabilities: Tensor, features: Tensor) -> Tensor:
    """Return CDAN's map, class times feature: `(n, k), (n, width) -> (n, k * width)`."""
    return torch.einsum("nk,nd->nkd", probabilities, features).flatten(1)


def cut(rows: Tensor, most: float) -> Tensor:
    """Return ``rows``, `(n, width)`, those longer than ``most`` brought to that length."""
    lengths: Tensor = rows.norm(dim=1, keepdim=True)
    return rows * (most / lengths.clamp(min=1e-12)).clamp(max=1)


def unit_length(rows: Tensor) -> Tensor:
    """Return ``rows``, `(n, width)`, with a mean square of one each.

    A discriminator of such rows cannot be deceived by making features longer and longer.
    """
    return F.normalize(rows) * math.sqrt(rows.shape[1])


def certainty(probabilities: Tensor) -> Tensor:
    """Return ``1 + exp(-H(p))`` of each row, `(n,)`: what an example counts in CDAN+E."""
    entropy = -(probabilities * (probabilities + 1e-5).log()).sum(dim=1)
    return 1 + torch.exp(-entropy)


def ramp(progress: float) -> float:
    """Return ``2 / (1 + exp(-10 t)) - 1``: from 0 at ``t = 0`` to nearly 1 at ``t = 1``."""
    return 2 / (1 + math.exp(-10 * progress)) - 1 if progress > 0 else 0.0
