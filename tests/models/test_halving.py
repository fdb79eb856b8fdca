"""Halving is average pooling of 2 by 2 pixels, to the last bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from fedsim.models._halving import Halving
from fedsim.seeds import torch_stream

FORMATS = [torch.contiguous_format, torch.channels_last]


def drawn(*shape: int, number: int = 0) -> Tensor:
    generator = torch_stream(1, "pixels", number)
    return torch.randn(shape, generator=generator) * torch.randn(shape, generator=generator).exp()


@pytest.mark.parametrize("order", FORMATS)
@pytest.mark.parametrize("shape", [(5, 3, 8, 8), (7, 16, 13, 9), (2, 3, 2, 3), (0, 3, 4, 4)])
def test_means_and_gradients_are_those_of_pytorch(shape, order) -> None:
    found = []
    for pool in (nn.AvgPool2d(2), Halving()):
        x = drawn(*shape).contiguous(memory_format=order).requires_grad_()
        made = pool(x)
        (slope,) = torch.autograd.grad(made, x, drawn(*made.shape, number=1))
        found.append((made.detach(), slope))
    for theirs, ours in zip(*found, strict=True):
        assert torch.equal(theirs, ours)


def test_it_can_be_mapped_over_examples_and_over_errors() -> None:
    x, found = drawn(4, 3, 6, 6), []
    for pool in (nn.AvgPool2d(2), Halving()):

        def loss(one: Tensor, pool: nn.Module = pool) -> Tensor:
            halved: Tensor = pool(one[None])
            return halved.square().sum()

        leaf = x.clone().requires_grad_()
        made = pool(leaf)
        errors = drawn(5, *made.shape, number=1)
        (slopes,) = torch.autograd.grad(made, leaf, errors, is_grads_batched=True)
        found.append((vmap(grad(loss))(x), slopes))
    for theirs, ours in zip(*found, strict=True):
        assert torch.equal(theirs, ours)
