"""Networks of several clients at once: each has weights of its own, and all go in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn import functional

from fedsim.models._halving import Halving
from fedsim.models._split import SplitModel
from fedsim.stacked.losses import has_error, losses_and_errors, mean_losses
from fedsim.task import Task
from fedsim.tasks.classification import Classification
from fedsim.wire import Weights

__all__ = ["Batch", "Chain", "Net", "chain_of", "is_known", "net_of", "pooled_first"]

Batch = tuple[Tensor, Tensor, Tensor]
"""Inputs `(clients, batch, *features)`, targets `(clients, batch, ...)`, and how much each example
counts in its client's loss, `(clients, batch)`: nothing, where it only fills up the batch."""

PLAIN = Classification()
"""What is learnt where nobody says: by plain cross-entropy."""


class Net(Protocol):
    """A network whose weights are stacked, `(clients, *shape)` by name."""

    def gradients(self, weights: Weights, batch: Batch) -> tuple[Tensor, Weights]:
        """Return each client's mean loss, `(clients,)`, and its gradients, stacked."""
        ...


def net_of(model: nn.Module, task: Task = PLAIN) -> Net | str:
    """Return ``model`` for many clients, or why there is no such thing.

    A chain of linear layers is written out, other chains of known layers use grouped
    convolutions and batched products, and anything else goes through ``torch.func.vmap``.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            return f"dropout ({name}) draws for one client at a time"
    if buffers := [name for name, _ in model.named_buffers()]:
        return f"batch statistics ({buffers[0]}, ...) change with every pass"
    if frozen := [name for name, p in model.named_parameters() if not p.requires_grad]:
        return f"{frozen[0]} is not trained"
    chain = chain_of(model)
    if chain is None:
        return Vmapped(model, task)
    are_linear = all(isinstance(layer, nn.Flatten | nn.Linear | nn.ReLU) for _, layer in chain)
    if are_linear and has_error(task):
        return Mlp(chain, task)
    return Layers(chain, task) if all(map(is_known, chain)) else Vmapped(model, task)


Chain = list[tuple[str, nn.Module]]


def chain_of(model: nn.Module) -> Chain | None:
    """Return the layers of ``model`` by name, in order, if that is all that it is."""
    names = {module: name for name, module in model.named_modules()}
    layers: list[nn.Module] = []
    if isinstance(model, SplitModel):
        plain = (SplitModel.forward, SplitModel.features)
        if (type(model).forward, type(model).features) != plain:
            return None
        layers = [*_flat(model.body), nn.Flatten(), model.head]
    elif type(model) is nn.Sequential:
        layers = list(_flat(model))
    distinct = {layer for layer in layers if next(layer.parameters(), None) is not None}
    covered = sum(len(list(layer.parameters())) for layer in distinct)
    if not layers or covered != len(list(model.parameters())) or len(set(layers)) < len(layers):
        return None
    return [(names.get(layer, ""), layer) for layer in layers]


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential:
        for inner in module:
            yield from _flat(inner)
    else:
        yield module


class Mlp:
    """Linear layers and ReLUs, their gradients written out.

    Written out, a plain step needs no gradient in memory: it is added to the weights by the
    product that makes it, see :meth:`descend`.
    """

    def __init__(self, chain: Chain, task: Task = PLAIN) -> None:
        self._task = task
        self._chain = [(name, layer) for name, layer in chain if not isinstance(layer, nn.Flatten)]
        self._has_bias = {
            name: layer.bias is not None
            for name, layer in self._chain
            if isinstance(layer, nn.Linear)
        }

    def gradients(self, weights: Weights, batch: Batch) -> tuple[Tensor, Weights]:
        """Return each client's mean loss and gradients; see :class:`Net`."""
        gradients: Weights = {}

        def keep(name: str, error: Tensor, inputs: Tensor) -> None:
            gradients[f"{name}.weight"] = torch.bmm(error.mT, inputs)
            if self._has_bias[name]:
                gradients[f"{name}.bias"] = error.sum(dim=1)

        losses = self._pass(weights, batch, keep)
        return losses, {name: gradients[name] for name in weights}

    def descend(self, weights: Weights, batch: Batch, lr: float, decay: float) -> Tensor:
        """Take one plain step in place and return each client's mean loss before it."""
        keeps = 1 - lr * decay

        def step(name: str, error: Tensor, inputs: Tensor) -> None:
            weights[f"{name}.weight"].baddbmm_(error.mT, inputs, beta=keeps, alpha=-lr)
            if self._has_bias[name]:
                bias = weights[f"{name}.bias"]
                bias.mul_(keeps).add_(error.sum(dim=1), alpha=-lr)

        return self._pass(weights, batch, step)

    def _pass(self, weights: Weights, batch: Batch, use: Callable[..., None]) -> Tensor:
        """Go forth and back; ``use`` is given each linear layer's error and inputs, last first."""
        inputs, targets, share = batch
        x, layer_inputs = inputs.flatten(2), []
        for name, layer in self._chain:
            layer_inputs.append(x)
            if isinstance(layer, nn.ReLU):
                x = x.relu()
            elif self._has_bias[name]:
                bias = weights[f"{name}.bias"].unsqueeze(1)
                x = torch.baddbmm(bias, x, weights[f"{name}.weight"].mT)
            else:
                x = torch.bmm(x, weights[f"{name}.weight"].mT)
        losses, error = losses_and_errors(self._task, x, targets, share)
        for place in range(len(self._chain) - 1, -1, -1):
            (name, layer), x = self._chain[place], layer_inputs[place]
            if isinstance(layer, nn.ReLU):
                error.mul_(x > 0)
                continue
            before = torch.bmm(error, weights[f"{name}.weight"]) if place else error
            use(name, error, x)
            error = before
        return losses


ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Identity)
POOLS = (nn.MaxPool2d, nn.AvgPool2d, Halving, nn.AdaptiveAvgPool2d)


def is_known(named: tuple[str, nn.Module]) -> bool:
    """Say whether a layer, with its name, is one that :class:`Layers` can stack."""
    layer = named[1]
    if type(layer) is nn.Conv2d:
        return layer.groups == 1 and layer.padding_mode == "zeros"
    if type(layer) is nn.Flatten:
        return (layer.start_dim, layer.end_dim) == (1, -1)
    return type(layer) in (nn.Linear, nn.GroupNorm, *ELEMENTWISE, *POOLS)


class Layers:
    """A chain in which clients lie side by side as channels: convolutions become grouped ones.

    Channels come last in memory, where grouped convolutions and pooling are fastest; norms are
    not, and decide otherwise for theirs.
    """

    def __init__(self, chain: Chain, task: Task = PLAIN) -> None:
        self._task, self._chain = task, pooled_first(chain)
        is_normed = any(isinstance(layer, nn.GroupNorm) for _, layer in chain)
        self._layout = torch.contiguous_format if is_normed else torch.channels_last

    def gradients(self, weights: Weights, batch: Batch) -> tuple[Tensor, Weights]:
        """Return each client's mean loss and gradients; see :class:`Net`."""
        inputs, targets, share = batch
        leaves = {name: weight.detach().requires_grad_() for name, weight in weights.items()}
        with torch.enable_grad():
            outputs = self._outputs(leaves, inputs)
            losses = mean_losses(self._task, outputs, targets, share)
            gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        return losses.detach(), dict(zip(leaves, gradients, strict=True))

    def _outputs(self, weights: Weights, inputs: Tensor) -> Tensor:
        count, x = len(inputs), inputs
        if x.dim() == 5:  # (clients, batch, channels, h, w) to (batch, clients * channels, h, w)
            x = x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=self._layout)
        for name, layer in self._chain:
            parameters = {key: weights[f"{name}.{key}"] for key, _ in layer.named_parameters()}
            bias = parameters.get("bias")
            if isinstance(layer, nn.Conv2d):
                x = functional.conv2d(
                    x,
                    parameters["weight"].flatten(0, 1).contiguous(memory_format=self._layout),
                    None if bias is None else bias.flatten(),
                    stride=layer.stride,
                    padding=layer.padding,
                    dilation=layer.dilation,
                    groups=count,
                )
            elif isinstance(layer, nn.GroupNorm):
                groups = count * layer.num_groups
                scale = parameters["weight"].flatten() if parameters else None
                x = functional.group_norm(
                    x, groups, scale, None if bias is None else bias.flatten(), layer.eps
                )
            elif isinstance(layer, nn.Flatten):
                if x.dim() == 4:
                    x = x.reshape(len(x), count, -1).transpose(0, 1)
            elif isinstance(layer, nn.Linear):
                x = torch.bmm(x, parameters["weight"].mT)
                x = x if bias is None else x + bias.unsqueeze(1)
            else:
                x = layer(x)
        return x


def pooled_first(chain: Chain) -> Chain:
    """Return ``chain`` with ReLUs behind the maximum that follows them: the same, on fewer numbers.

    The largest is passed on whether or not the negative ones were cut off before.
    """
    reordered = list(chain)
    for at, (layer, next_one) in enumerate(pairwise(chain)):
        if isinstance(layer[1], nn.ReLU) and isinstance(next_one[1], nn.MaxPool2d):
            reordered[at : at + 2] = [next_one, layer]
    return reordered


class Vmapped:
    """Any network that ``torch.func.vmap`` can follow."""

    def __init__(self, model: nn.Module, task: Task = PLAIN) -> None:
        def loss(weights: Weights, inputs: Tensor, targets: Tensor, share: Tensor) -> Tensor:
            outputs = functional_call(model, weights, (inputs,))
            return mean_losses(task, outputs[None], targets[None], share[None])[0]

        self._each = vmap(grad_and_value(loss))

    def gradients(self, weights: Weights, batch: Batch) -> tuple[Tensor, Weights]:
        """Return each client's mean loss and gradients; see :class:`Net`."""
        gradients, losses = self._each(weights, *batch)
        return losses, dict(gradients)
