"""The clients' training examples on a GPU, as they are stored: bytes stay bytes there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedsim.client import Examples, Unlabelled
from fedsim.data.dataset import Array
from fedsim.data.federated import FederatedData

__all__ = ["Resident"]

SHARE = 0.25
"""Of the device's free memory, that examples may take."""


class Resident:
    """Gives what ``data.train`` gives, to the last bit, on another device.

    Examples cross to it as they are stored, once if they fit there, else whenever their client
    trains, and are normalised there.
    """

    def __init__(self, data: FederatedData, device: torch.device, room: int | None = None) -> None:
        """Copy the examples, if they take at most ``room`` bytes.

        Args:
            data: all clients'.
            device: where.
            room: by default a quarter of what is free on a GPU.
        """
        self._device, self._arrays = device, data.stored
        self._inputs, self._labels = self._arrays["inputs"], self._arrays["labels"]
        self._scale = [self._moved(self._arrays[name]) for name in ("centre", "spread")]
        if room is None:
            room = int(SHARE * torch.cuda.mem_get_info(device)[0])
        self._held: tuple[Tensor, Tensor] | None = None
        if self._inputs.nbytes + self._labels.nbytes <= room:
            self._held = self._moved(self._inputs), self._moved(self._labels)

    @property
    def is_held(self) -> bool:
        """Whether all examples lie on the device."""
        return self._held is not None

    def train(self, client: int) -> Examples | Unlabelled:
        """Return the training part of ``client``; a target's without labels."""
        rows = slice(*self._arrays["offsets"][3 * client : 3 * client + 2].tolist())
        if self._held is not None:
            inputs, labels = (every[rows] for every in self._held)
        else:
            inputs, labels = self._moved(self._inputs[rows]), self._moved(self._labels[rows])
        ready = self._normalised(inputs, client)
        if self._arrays["target"][client]:
            return Unlabelled(ready)
        weight = self._arrays.get("weight")
        return Examples(ready, labels, None if weight is None else self._moved(weight[rows]))

    def _normalised(self, inputs: Tensor, client: int) -> Tensor:
        if inputs.dtype == torch.int64:  # token ids
            return inputs.clone()
        own = [part if part.dim() == 1 else part[client] for part in self._scale]
        centre, spread = (part.view(-1, *(1,) * (inputs.dim() - 2)) for part in own)
        return inputs.to(torch.float32, copy=True).sub_(centre).div_(spread)

    def _moved(self, array: Array) -> Tensor:
        # A copy: torch warns of a mapping that cannot be written to.
        return torch.from_numpy(np.array(array)).to(self._device)
