"""Each example's own gradient for several clients in one pass, clipped and summed by client.

What is between layers with weights is left to autograd; for those see
:mod:`fedsim.per_sample.layers`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedsim.per_sample.example_loss import PLAIN, summed_loss
from fedsim.per_sample.gradients import SLACK, evenly, is_written
from fedsim.per_sample.layers import (
    Convolution,
    Layer,
    LinearLayer,
    StackedOuter,
    StackedRows,
    StackedScale,
)
from fedsim.stacked.networks import Batch, Chain, chain_of, pooled_first
from fedsim.task import Task
from fedsim.wire import Weights

__all__ = ["SummedTogether"]

CACHE = 3 << 18
"""Bytes of gradients in float64 that are written down at once: they stay near the processor."""

GradientsByName = dict[str, StackedOuter | StackedRows]
"""Gradients by the name of the weight."""

Plain = Callable[[Tensor, int], Tensor]
"""What has no weights, of a tensor and the number of clients in it."""


@dataclass(frozen=True)
class _LayerStep:
    """A layer with weights, and what comes behind it up to the next."""

    name: str
    layer: Layer
    behind: list[Plain]


@dataclass(frozen=True)
class _LayerInputs:
    """What a layer was given and gave on the way forward."""

    link: _LayerStep
    parameters: Weights
    """The weights of its layer, `(clients, *shape)`."""
    x: Tensor
    output: Tensor
    """The layer's output."""
    after: Tensor
    """That of the link."""


class SummedTogether:
    """The sums of clients' clipped gradients, for a chain of known layers."""

    def __init__(self, model: nn.Module, chain: Chain, task: Task = PLAIN) -> None:
        """Take ``chain`` apart, which makes up ``model``, for the losses of ``task``."""
        self._task = task
        self._before: list[Plain] = []
        self._links: list[_LayerStep] = []
        for name, layer in pooled_first(chain):
            self._append(name, layer)
        self._are_images = not isinstance(chain[0][1], nn.Flatten)
        self._shapes = {name: weight.shape for name, weight in model.named_parameters()}
        sizes = [shape.numel() for shape in self._shapes.values()]
        ends = [slice(*two) for two in pairwise(accumulate(sizes, initial=0))]
        self._spots = dict(zip(self._shapes, ends, strict=True))

    @classmethod
    def of(cls, model: nn.Module, task: Task = PLAIN) -> SummedTogether | str:
        """Return those of ``model``, or why there is no such thing."""
        if frozen := [name for name, p in model.named_parameters() if not p.requires_grad]:
            return f"{frozen[0]} is not trained"
        if (chain := chain_of(model)) is None:
            return "it is no plain chain of layers"
        if odd := [type(named[1]).__name__ for named in chain if not is_written(named)]:
            return f"gradients of {odd[0]} are not written out"
        return cls(model, chain, task)

    def __call__(self, rows: Tensor, batch: Batch, clip: float) -> Tensor:
        """Return the sum of each client's clipped gradients, in float64, `(clients, numbers)`.

        Adding or removing one example moves its client's sum by at most ``clip``, rounding
        included, and no other client's at all: as for
        :func:`fedsim.per_sample.clipped_sums.written_sum`, its term is made of float32
        numbers that depend on it and its client's weights alone, and everything after them is
        float64.  For that a pass has to have the same size each time.

        Args:
            rows: each client's weights, one behind another, `(clients, numbers)`.
            batch: the last of it says which are examples; the others fill up.
            clip: the bound on the norm of one example's gradient, over all weights together.
        """
        inputs, labels, share = batch
        pieces = self._gradients(self.split(rows), inputs, labels)
        outer = {
            name: (piece.errors.double(), piece.inputs.double())
            for name, piece in pieces.items()
            if isinstance(piece, StackedOuter)
        }
        row_pieces = {
            name: piece for name, piece in pieces.items() if isinstance(piece, StackedRows)
        }
        squares = torch.zeros(share.shape, dtype=torch.float64, device=rows.device)
        # The norm of an outer product is the product of the norms: it is never written down.
        for errors, layer_inputs in outer.values():
            squares += errors.square().sum(dim=2) * layer_inputs.square().sum(dim=2)
        counts = share.sum(dim=1, dtype=torch.int64).tolist()
        scale, sums = _cut(list(row_pieces.values()), squares, counts, clip)
        has_odd = not bool(torch.isfinite(squares).all())
        total = torch.empty(rows.shape, dtype=torch.float64, device=rows.device)
        by_name = self.split(total)
        for (name, piece), row_sums in zip(row_pieces.items(), sums, strict=True):
            ordered = row_sums.view(-1, *piece.shape).permute(0, *(1 + at for at in piece.order))
            by_name[name].copy_(ordered)
        for name, (errors, layer_inputs) in outer.items():
            if has_odd:  # a scale of 0 does not take away what is not finite: 0 * inf is NaN
                errors[scale == 0], layer_inputs[scale == 0] = 0, 0
            for client, cut in enumerate(errors.mul_(scale.unsqueeze(2))):
                torch.mm(cut.mT, layer_inputs[client], out=by_name[name][client])
        return total

    def split(self, rows: Tensor) -> Weights:
        """Return rows, `(clients, numbers)`, as weights, `(clients, *shape)` by name."""
        return {
            name: rows[:, spot].view(-1, *self._shapes[name]) for name, spot in self._spots.items()
        }

    def _append(self, name: str, layer: nn.Module) -> None:
        behind = self._links[-1].behind if self._links else self._before
        if isinstance(layer, nn.Linear):
            self._links.append(_LayerStep(name, LinearLayer(), []))
        elif isinstance(layer, nn.Conv2d):
            self._links.append(_LayerStep(name, Convolution(layer), []))
        elif isinstance(layer, nn.GroupNorm):
            groups, eps = layer.num_groups, layer.eps
            behind.append(lambda x, clients: functional.group_norm(x, clients * groups, eps=eps))
            if layer.affine:
                self._links.append(_LayerStep(name, StackedScale(), []))
        elif isinstance(layer, nn.Flatten):
            behind.append(_flat)
        else:
            behind.append(lambda x, _: evenly(layer, x))

    def _gradients(self, weights: Weights, inputs: Tensor, labels: Tensor) -> GradientsByName:
        """Go forward and backward; return what every example's gradients are made of."""
        clients, traced, x = len(inputs), list[_LayerInputs](), inputs
        if self._are_images and x.dim() == 5:
            # Clients side by side as channels: one grouped convolution serves all of them.
            x = x.transpose(0, 1).flatten(1, 2).contiguous(memory_format=torch.channels_last)
        for plain in self._before:
            x = plain(x, clients)
        for link in self._links:
            start = f"{link.name}."
            parameters = {
                n.removeprefix(start): w for n, w in weights.items() if n.startswith(start)
            }
            # Autograd sees only what lies between two layers with weights: their own gradients are
            # made example by example below, which autograd would have summed.
            output = link.layer.forward(parameters, x)
            after = output.requires_grad_()
            with torch.enable_grad():
                for plain in link.behind:
                    after = plain(after, clients)
                if link is self._links[-1]:
                    flat = after.flatten(0, 1), labels.flatten(0, 1)
                    after = summed_loss(self._task, *flat)
            traced.append(_LayerInputs(link, parameters, x, output, after))
            x = after.detach()
        pieces, error = GradientsByName(), None
        for at in reversed(traced):
            (output_error,) = torch.autograd.grad(at.after, at.output, error)
            for key, piece in at.link.layer.gradients(at.x, output_error, clients):
                if key in at.parameters:
                    pieces[f"{at.link.name}.{key}"] = piece
            if at is not traced[0]:  # nobody asks for the error of the examples themselves
                error = at.link.layer.backward(at.parameters, at.x, output_error)
        return pieces


def _cut(
    pieces: list[StackedRows], squares: Tensor, counts: list[int], clip: float
) -> tuple[Tensor, list[Tensor]]:
    """Return what each example's gradient is multiplied with, and the sums of those written down.

    All of it is float64, and what is not finite counts as nothing.  A few examples of one client
    are written down at a time, always as many, so that they stay near the processor.

    Args:
        pieces: written down here.
        squares: of the norms of all others, `(clients, slots)`.
        counts: how many of a client's slots do not fill up: its first ones.
        clip: the bound.
    """
    ends = accumulate([piece.numbers for piece in pieces], initial=0)
    columns = [slice(*two) for two in pairwise(ends)]
    width, slots = sum(piece.numbers for piece in pieces), squares.shape[1]
    many = min(slots, max(1, CACHE // (8 * max(1, width))))
    wide = squares.new_empty(many, width)
    scale, sums = torch.zeros_like(squares), squares.new_zeros(len(counts), width)
    for client, count in enumerate(counts):
        for first in range(0, count, many):
            start = min(first, slots - many)  # the last few may have been in the slice before
            rows = slice(start, start + many)
            for piece, column in zip(pieces, columns, strict=True):
                wide[:, column] = piece.of(client, rows).flatten(1)
            norms = torch.linalg.vector_norm(wide, dim=1).square_()
            norms.add_(squares[client, rows]).sqrt_()
            cut = (clip * SLACK / norms).clamp_(max=1)  # a norm of 0 gives inf, so 1
            if not math.isfinite(float(norms.sum())):
                is_odd = ~torch.isfinite(norms)
                wide[is_odd], cut[is_odd] = 0, 0
            # Counted once: neither what the slice before had, nor what only fills up.
            cut[: first - start], cut[max(0, count - start) :] = 0, 0
            scale[client, rows] += cut
            sums[client].addmv_(wide.mT, cut)
    return scale, [sums[:, column] for column in columns]


def _flat(x: Tensor, clients: int) -> Tensor:
    """Return examples as rows, `(clients, slots, features)`."""
    if x.dim() == 4:
        return x.reshape(len(x), clients, -1).transpose(0, 1).contiguous()
    return x.flatten(2)
