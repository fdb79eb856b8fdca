"""Lets layers that draw from torch's default generator draw from a client's stream instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["layers_draw_from"]


@contextmanager
def layers_draw_from(draws: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed ``device``'s default generator from ``draws`` inside the block, and put it back after.

    Dropout takes no generator.  This does for one turn of a client what
    :func:`fedsim.seeds.torch_defaults` does for a model, at 5 microseconds instead of 150: it
    leaves the generators of other devices alone.
    """
    default = torch.default_generator
    if device.type == "cuda":
        default = torch.cuda.default_generators[device.index]
    before = default.get_state()
    default.manual_seed(int(torch.randint(2**31, (), generator=draws)))
    try:
        yield
    finally:
        default.set_state(before)
