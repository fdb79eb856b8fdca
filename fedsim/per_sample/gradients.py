"""Each example's own gradient, layer by layer, in forms that are quick to measure and to sum.

A linear layer's gradient is an outer product of its error and its input.  Its norm is a product of
norms, and a sum of such gradients is one product of matrices, so none is ever written down.
Those of convolutions and norms, which are small, are.

References:
    Goodfellow, "Efficient Per-Example Gradient Computations", 2015, arXiv:1510.01799.
    Bu, Mao, Xu, "Scalable and Efficient Training of Large Convolutional Neural Networks with
    Differential Privacy", NeurIPS 2022, arXiv:2205.10683: which way for which layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedsim.client import Examples
from fedsim.per_sample.example_loss import PLAIN, REST, summed_loss
from fedsim.stacked.networks import Chain, chain_of, is_known, pooled_first
from fedsim.task import Task
from fedsim.wire import Weights

__all__ = ["SLACK", "WIDE", "Outer", "Piece", "Rows", "WrittenOut", "evenly", "is_written"]

SLACK = 1 - 2.0**-16
"""Room below the clip for the rounding of sums that are not whole numbers."""

WIDE = 8
"""Input channels from which on a convolution's windows are copied with the channels last."""


SMOOTH = (nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)
"""Activations that are not made of pieces of lines."""


class Piece(Protocol):
    """The gradients of a batch's examples for one weight."""

    def squares(self) -> Tensor:
        """Return the squared norms, `(n,)`."""
        ...

    def add_to(self, total: Tensor, scale: Tensor) -> None:
        """Add all gradients, each times its ``scale``, to ``total``, in place.

        Args:
            total: of the weight's shape.
            scale: `(n,)`.
        """
        ...

    def only(self, chosen: Tensor | slice) -> Piece:
        """Return those of the examples that a mask, `(n,)`, or a slice chooses, in float64."""
        ...


@dataclass(frozen=True)
class Outer:
    """Outer products: ``errors[k] x inputs[k]`` is the gradient of example k."""

    errors: Tensor
    """Shape ``(n, outputs)``."""
    inputs: Tensor
    """Shape ``(n, inputs)``."""

    def squares(self) -> Tensor:
        """Return products of squared norms; see :class:`Piece`."""
        return self.errors.square().sum(dim=1) * self.inputs.square().sum(dim=1)

    def add_to(self, total: Tensor, scale: Tensor) -> None:
        """Add one product of matrices; see :class:`Piece`."""
        total.addmm_((self.errors * scale.unsqueeze(1)).mT, self.inputs)

    def only(self, chosen: Tensor | slice) -> Outer:
        """Return some, in float64; see :class:`Piece`."""
        return Outer(self.errors[chosen].double(), self.inputs[chosen].double())


@dataclass(frozen=True)
class Rows:
    """Gradients that are written down."""

    values: Tensor
    """Shape ``(n, numbers)``."""
    shape: tuple[int, ...]
    """Of one gradient, as it lies in a row."""
    order: tuple[int, ...]
    """Which of these dimensions the weight's first, second ... is."""

    def squares(self) -> Tensor:
        """Return sums of squares; see :class:`Piece`."""
        rows = self.values.unsqueeze(1)
        return torch.bmm(rows, rows.mT).flatten()

    def add_to(self, total: Tensor, scale: Tensor) -> None:
        """Add one product of a vector with a matrix; see :class:`Piece`."""
        total.add_((scale @ self.values).view(self.shape).permute(self.order))

    def only(self, chosen: Tensor | slice) -> Rows:
        """Return some, in float64; see :class:`Piece`."""
        return Rows(self.values[chosen].double(), self.shape, self.order)


@dataclass(frozen=True)
class _LayerPass:
    """A layer of a chain, and what it holds."""

    name: str
    layer: nn.Module
    parameters: Weights
    """Its weights, which descent changes in place."""
    trained: tuple[str, ...]

    @classmethod
    def of(cls, name: str, layer: nn.Module) -> _LayerPass:
        parameters = dict(layer.named_parameters())
        trained = tuple(key for key, parameter in parameters.items() if parameter.requires_grad)
        return cls(name, layer, {key: p.detach() for key, p in parameters.items()}, trained)


class WrittenOut:
    """The gradients of a chain of known layers."""

    def __init__(self, chain: Chain, task: Task = PLAIN) -> None:
        self._task = task
        self._steps = [_LayerPass.of(name, layer) for name, layer in pooled_first(chain)]

    @classmethod
    def of(cls, model: nn.Module, task: Task = PLAIN) -> WrittenOut | None:
        """Return those of ``model``; None if it is anything else than such a chain."""
        chain = chain_of(model)
        return cls(chain, task) if chain is not None and all(map(is_written, chain)) else None

    def __call__(self, batch: Examples, count: int) -> dict[str, Piece]:
        """Return the gradients of the first ``count`` examples, by name of the weight.

        All that is done in float32 is done for the whole batch, also for what fills it up.
        """
        x, traced = batch.inputs, list[tuple[_LayerPass, Tensor, Tensor]]()
        with torch.enable_grad():
            for step in self._steps:
                layer_input, x = _through(step.layer, step.parameters, x)
                # Weights are detached, so outputs are what autograd differentiates for: it gives
                # each example's error, and never a sum over examples.
                if step.trained:
                    x = x if x.requires_grad else x.requires_grad_()
                    traced.append((step, layer_input.detach(), x))
            loss = summed_loss(self._task, x, batch.labels)
            errors = torch.autograd.grad(loss, [output for *_, output in traced])
        pieces: dict[str, Piece] = {}
        for (step, layer_input, _), error in zip(traced, errors, strict=True):
            for key in step.trained:
                gradient_of = _of_weight if key == "weight" else _of_bias
                pieces[f"{step.name}.{key}"] = gradient_of(step.layer, layer_input, error).only(
                    slice(count)
                )
        return pieces


def is_written(named: tuple[str, nn.Module]) -> bool:
    """Say whether a layer's gradients are written out below."""
    layer = named[1]
    if isinstance(layer, nn.Conv2d):
        return is_known(named) and layer.dilation == (1, 1) and isinstance(layer.padding, tuple)
    return is_known(named) and not getattr(layer, "inplace", False)


def evenly(layer: nn.Module, x: Tensor) -> Tensor:
    """Return ``layer(x)`` for a layer without weights, the same for every example.

    A processor's vectors rarely come out even: the last few numbers of a tensor are computed one by
    one, and of an exponential that gives other last bits.  Here those are zeros behind the others.
    """
    if not isinstance(layer, SMOOTH):
        return cast(Tensor, layer(x))
    flat = functional.pad(x.flatten(), (0, REST))
    return cast(Tensor, layer(flat))[:-REST].view(x.shape)


def _through(layer: nn.Module, parameters: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the layer's weight is multiplied with, and what comes of it."""
    if isinstance(layer, nn.Conv2d):
        # With channels last, as the weight says, a pool is several times as fast, and so are the
        # windows below.  A single channel's weight would be taken to be so already.
        weight = (
            parameters["weight"].permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)
        )
        weight = weight.permute(0, 3, 1, 2)
        return x, functional.conv2d(x, weight, parameters.get("bias"), layer.stride, layer.padding)
    if isinstance(layer, nn.Linear):
        return x, functional.linear(x, parameters["weight"], parameters.get("bias"))
    if isinstance(layer, nn.GroupNorm) and parameters:
        # Normalised first, scaled after: the normalised input is what the scale's gradient needs.
        x = functional.group_norm(x, layer.num_groups, eps=layer.eps)
        per_channel = (-1, *[1] * (x.dim() - 2))
        return x, x * parameters["weight"].view(per_channel) + parameters["bias"].view(per_channel)
    return x, evenly(layer, x)


def _of_weight(layer: nn.Module, layer_input: Tensor, error: Tensor) -> Piece:
    """Return the gradients of a layer's weight from its input and its error."""
    if isinstance(layer, nn.Conv2d):
        return _of_kernel(layer, layer_input, error)
    if isinstance(layer, nn.GroupNorm):
        return _rows((layer_input * error).flatten(2).sum(dim=2))
    if layer_input.dim() == 2:
        return Outer(error, layer_input)
    return _rows(error.flatten(1, -2).mT @ layer_input.flatten(1, -2))


def _of_bias(layer: nn.Module, _: Tensor, error: Tensor) -> Piece:
    """Return the gradients of a layer's bias: sums of its errors over all places."""
    if isinstance(layer, nn.Linear):
        return _rows(error if error.dim() == 2 else error.flatten(1, -2).sum(dim=1))
    errors = error.flatten(2)  # (n, outputs, places), and one product is faster than a sum
    return _rows(torch.bmm(errors, errors.new_ones(len(errors), errors.shape[2], 1)).squeeze(2))


def _of_kernel(layer: nn.Conv2d, layer_input: Tensor, error: Tensor) -> Piece:
    """Return a convolution's: for each example one product of its errors with its windows."""
    high, wide = layer.kernel_size
    down, along = layer.stride
    rows, columns = (int(pad) for pad in layer.padding)
    if rows or columns:
        layer_input = functional.pad(layer_input, (columns, columns, rows, rows))
    errors = error.permute(0, 2, 3, 1).flatten(1, 2)  # (n, places, outputs)
    windows = layer_input.permute(0, 2, 3, 1).unfold(1, high, down).unfold(2, wide, along)
    count, channels = len(layer_input), layer.in_channels  # (n, y, x, channels, high, wide)
    if channels < WIDE:
        flat = windows.permute(0, 3, 4, 5, 1, 2).reshape(count, -1, errors.shape[1]).mT
        shape, order = (layer.out_channels, channels, high, wide), (0, 1, 2, 3)
    else:
        flat = windows.permute(0, 1, 2, 4, 5, 3).reshape(count, errors.shape[1], -1)
        shape, order = (layer.out_channels, high, wide, channels), (0, 3, 1, 2)
    return Rows(torch.bmm(errors.mT, flat).flatten(1), shape, order)


def _rows(gradients: Tensor) -> Rows:
    shape = tuple(gradients.shape[1:])
    return Rows(gradients.flatten(1), shape, tuple(range(len(shape))))
