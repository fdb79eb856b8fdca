"""A client's stream on the device that its model is on."""

from __future__ import annotations

import torch

__all__ = ["on_device"]


def on_device(draws: torch.Generator, device: torch.device) -> torch.Generator:
    """Return ``draws`` itself on the CPU, and elsewhere a generator of ``device`` seeded by it.

    What is drawn is then made where it is used, and nothing waits for a copy.
    """
    if device.type == "cpu":
        return draws
    seed = int(torch.randint(2**62, (), generator=draws))
    return torch.Generator(device).manual_seed(seed)
