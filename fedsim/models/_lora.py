"""Low-rank adapters: a weight is trained as a frozen matrix plus the product of two thin ones.

References:
    Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen, "LoRA: Low-Rank Adaptation of Large Language
    Models", ICLR 2022, arXiv:2106.09685, equation 3; Sun, Li, Li, Ding, "Improving LoRA in
    Privacy-preserving Federated Learning" (FFA-LoRA), ICLR 2024, arXiv:2403.12313.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fedsim.models._weights_file import finetune_fault, matches
from fedsim.schema.finetune import LowRank
from fedsim.schema.wording import did_you_mean, listed

__all__ = ["Adapter", "add_adapters", "merge_adapters"]

_ADAPTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)


class Adapter(nn.Module):
    """The parametrisation ``W + alpha / rank * B A`` of a weight, seen as a matrix.

    ``A`` is drawn as a linear layer's weight is and ``B`` starts at zero, so that training starts
    from ``W``.  A convolution's weight `(out, in, ...)` is the matrix `(out, in * ...)`.
    """

    def __init__(self, weight: Tensor, spec: LowRank) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        self.scale = spec.alpha / spec.rank
        a, b = torch.empty(spec.rank, columns), torch.zeros(rows, spec.rank)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5))
        self.lora_a = nn.Parameter(a.to(weight), requires_grad=spec.aggregate != "ffa")
        self.lora_b = nn.Parameter(b.to(weight))
        # What the server adds where the mean of both is not the mean of their products.
        residual = torch.zeros(rows, columns).to(weight) if spec.aggregate == "exact" else None
        self.register_buffer("lora_residual", residual)

    lora_residual: Tensor | None

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight that the layer works with, in the shape of ``weight``."""
        low_rank = self.scale * (self.lora_b @ self.lora_a)
        if self.lora_residual is not None:
            low_rank = low_rank + self.lora_residual
        return weight + low_rank.view_as(weight)


def add_adapters(model: nn.Module, spec: LowRank, whole: Sequence[str]) -> None:
    """Freeze ``model`` and give layers of it adapters, which alone are trained.

    Args:
        model: with the weights to start from; changed in place.
        spec: which layers, and how.
        whole: patterns of parameters that are trained whole: such layers get no adapter.

    Raises:
        ScenarioError: if a pattern is of no layer, or an adapter would be no smaller than a layer.
    """
    layers: dict[str, Any] = {n: m for n, m in model.named_modules() if isinstance(m, _ADAPTED)}
    for at, pattern in enumerate(spec.on):
        if not any(matches(name, [pattern]) for name in layers):
            hint = did_you_mean(pattern, layers) or f"there are {listed(list(layers)[:8])}"
            message = f"no linear, convolution or embedding layer is called {pattern!r}"
            raise finetune_fault(f"lora.on[{at}]", message, hint)
    chosen = {
        name: layer
        for name, layer in layers.items()
        if matches(name, spec.on) and not matches(f"{name}.weight", whole)
    }
    model.requires_grad_(False)
    for name, layer in chosen.items():
        weight: Tensor = layer.weight
        _check_layer(model, name, weight, spec.rank)
        parametrize.register_parametrization(layer, "weight", Adapter(weight, spec))


def merge_adapters(model: nn.Module) -> nn.Module:
    """Return ``model`` with each adapter added to its weight: the names are those it had before."""
    for module in list(model.modules()):
        parametrized: Any = getattr(module, "parametrizations", {})
        for name in list(parametrized):
            if any(isinstance(part, Adapter) for part in parametrized[name]):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return model


def _check_layer(model: nn.Module, name: str, weight: Tensor, rank: int) -> None:
    smaller = min(weight.shape[0], weight[0].numel())
    if rank > smaller:
        message = f"rank {rank} is more than the {smaller} of {name}"
        hint = f"leave it out of finetune.lora.on, or train it whole: finetune.train: [{name}.*]"
        raise finetune_fault("lora.rank", message, hint)
    names = [n for n, p in model.named_parameters(remove_duplicate=False) if p is weight]
    if len(names) > 1:
        message = f"{names[0]} and {names[1]} are tied: an adapter would part them"
        raise finetune_fault("lora.on", message, "leave such layers out")
