"""Layers of several clients at once, forward and backward, and each example's own gradient of them.

Images lie as in :class:`fedsim.stacked.networks.Layers`: clients are side by side as channels, and
convolutions are grouped, forward and backward.  Behind a ``Flatten`` a product has one matrix for
each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input

from fedsim.errors import RunError
from fedsim.per_sample.gradients import WIDE
from fedsim.wire import Weights

__all__ = [
    "Convolution",
    "Layer",
    "LinearLayer",
    "NamedGradients",
    "StackedOuter",
    "StackedRows",
    "StackedScale",
]

LAST = torch.channels_last


@dataclass(frozen=True)
class StackedOuter:
    """Outer products: ``errors[c, k] x inputs[c, k]`` is the gradient of client c's example k."""

    errors: Tensor
    """Shape ``(clients, slots, outputs)``."""
    inputs: Tensor
    """Shape ``(clients, slots, inputs)``."""


@dataclass(frozen=True)
class StackedRows:
    """Gradients that are written down, when they are asked for."""

    of: Callable[[int, slice], Tensor]
    """Makes those of a client in some of its slots, `(n, *shape)`."""
    shape: tuple[int, ...]
    """Of one gradient, as it lies in a row."""
    order: tuple[int, ...]
    """Which of these dimensions the weight's first, second ... is."""

    @property
    def numbers(self) -> int:
        """How many a row has."""
        return math.prod(self.shape)

    @classmethod
    def made(cls, values: Tensor) -> StackedRows:
        """Return those that are there already, `(clients, slots, numbers)`."""
        return cls(lambda client, rows: values[client, rows], (values.shape[2],), (0,))


NamedGradients = Iterator[tuple[str, StackedOuter | StackedRows]]
"""Each weight's name in its layer, and its gradients."""


class Layer(Protocol):
    """A layer with weights; ``parameters`` are all clients', `(clients, *shape)` by name."""

    def forward(self, parameters: Weights, x: Tensor) -> Tensor:
        """Return the layer's output."""
        ...

    def backward(self, parameters: Weights, x: Tensor, error: Tensor) -> Tensor:
        """Return the error of ``x``, the layer's input, from that of its output."""
        ...

    def gradients(self, x: Tensor, error: Tensor, clients: int) -> NamedGradients:
        """Yield the gradients of each weight by its name."""
        ...


class LinearLayer:
    """A linear layer, of inputs `(clients, slots, features)`."""

    def forward(self, parameters: Weights, x: Tensor) -> Tensor:
        """Return a batched product; see :class:`Layer`.

        Raises:
            RunError: if it is used at several places of an example.
        """
        if x.dim() != 3:
            raise RunError("this model cannot be stacked: a linear layer before it is flat")
        if "bias" in parameters:
            return torch.baddbmm(parameters["bias"].unsqueeze(1), x, parameters["weight"].mT)
        return torch.bmm(x, parameters["weight"].mT)

    def backward(self, parameters: Weights, x: Tensor, error: Tensor) -> Tensor:
        """Return a batched product; see :class:`Layer`."""
        return torch.bmm(error, parameters["weight"])

    def gradients(self, x: Tensor, error: Tensor, clients: int) -> NamedGradients:
        """Yield outer products, which are never written down; see :class:`Layer`."""
        yield "weight", StackedOuter(error, x)
        yield "bias", StackedRows.made(error)


class Convolution:
    """A convolution, of inputs `(slots, clients * channels, height, width)`."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self._layer = layer
        self._padding = tuple(int(pad) for pad in layer.padding)

    def forward(self, parameters: Weights, x: Tensor) -> Tensor:
        """Return a grouped convolution; see :class:`Layer`."""
        weight, bias = _channels_last(parameters["weight"]), parameters.get("bias")
        bias = None if bias is None else bias.flatten()
        layer, clients = self._layer, len(parameters["weight"])
        return functional.conv2d(x, weight, bias, layer.stride, self._padding, groups=clients)

    def backward(self, parameters: Weights, x: Tensor, error: Tensor) -> Tensor:
        """Return a grouped convolution with the weights turned round; see :class:`Layer`."""
        weight, stride = _channels_last(parameters["weight"]), self._layer.stride
        grad_input: Tensor = conv2d_input(  # type: ignore[no-untyped-call]
            list(x.shape), weight, error, stride, self._padding, groups=len(parameters["weight"])
        )
        return grad_input

    def gradients(self, x: Tensor, error: Tensor, clients: int) -> NamedGradients:
        """Yield products of errors with windows, for each example; see :class:`Layer`."""
        layer = self._layer
        errors = error.contiguous(memory_format=LAST).permute(0, 2, 3, 1).flatten(1, 2)
        channels, out, kernel = layer.in_channels, layer.out_channels, layer.kernel_size
        is_narrow = channels < WIDE
        shape, order = (out, *kernel, channels), (0, 3, 1, 2)
        if is_narrow:
            shape, order = (channels, *kernel, out), (3, 0, 1, 2)

        def errors_of(client: int, rows: slice) -> Tensor:
            return errors[rows, :, client * out : (client + 1) * out]

        def weight_gradients(client: int, rows: slice) -> Tensor:
            images = x[rows, client * channels : (client + 1) * channels]
            windows, error = self._windows(images, is_narrow), errors_of(client, rows)
            return torch.bmm(windows, error) if is_narrow else torch.bmm(error.mT, windows)

        def bias_gradients(client: int, rows: slice) -> Tensor:
            # Not of all clients at once: where their channels end, kernels sum in another order.
            error = errors_of(client, rows)
            # A product with ones is faster than a sum.
            return torch.bmm(error.new_ones(len(error), 1, error.shape[1]), error)

        yield "weight", StackedRows(weight_gradients, shape, order)
        yield "bias", StackedRows(bias_gradients, (out,), (0,))

    def _windows(self, x: Tensor, is_narrow: bool) -> Tensor:
        """Return what the kernel meets, from one client's images.

        Args:
            x: the images, `(n, channels, height, width)`.
            is_narrow: return `(n, numbers, places)`, not `(n, places, numbers)`: what is quicker
                to copy where there are few channels.
        """
        (high, wide), (down, along) = self._layer.kernel_size, self._layer.stride
        (rows, columns), last = self._padding, x.permute(0, 2, 3, 1)
        if rows or columns:
            last = functional.pad(last, (0, 0, columns, columns, rows, rows))
        every = last.contiguous().unfold(1, high, down).unfold(2, wide, along)
        if is_narrow:  # (n, y, x, channels, high, wide)
            return every.permute(0, 3, 4, 5, 1, 2).flatten(1, 3).flatten(2)
        return every.permute(0, 1, 2, 4, 5, 3).flatten(3).flatten(1, 2)


def _channels_last(weight: Tensor) -> Tensor:
    """Return kernels of all clients one behind another, with the channels last."""
    return weight.flatten(0, 1).contiguous(memory_format=LAST)


class StackedScale:
    """The scale and the shift of a norm's channels, `(slots, clients * channels, ...)`."""

    def forward(self, parameters: Weights, x: Tensor) -> Tensor:
        """Return ``x`` scaled and shifted; see :class:`Layer`."""
        return x * _each(parameters["weight"], x) + _each(parameters["bias"], x)

    def backward(self, parameters: Weights, x: Tensor, error: Tensor) -> Tensor:
        """Return the error scaled; see :class:`Layer`."""
        return error * _each(parameters["weight"], x)

    def gradients(self, x: Tensor, error: Tensor, clients: int) -> NamedGradients:
        """Yield sums over places; see :class:`Layer`."""
        for key, values in ("weight", x * error), ("bias", error):
            yield key, _summed(values, values.shape[1] // clients)


def _summed(values: Tensor, channels: int) -> StackedRows:
    """Return sums over the places of each channel, which lie behind one another for that."""

    def rows_of(client: int, chosen: slice) -> Tensor:
        block = values[chosen, client * channels : (client + 1) * channels]
        return block.contiguous().flatten(2).sum(dim=2)

    return StackedRows(rows_of, (channels,), (0,))


def _each(parameter: Tensor, x: Tensor) -> Tensor:
    return parameter.reshape(-1, *[1] * (x.dim() - 2))
