"""The validation part of a client, or of all sources, for a rule that stops by it."""

from __future__ import annotations

import torch

from fedsim.client import Examples
from fedsim.data.federated import FederatedData
from fedsim.wire import ClientId

__all__ = ["validation_part"]


def validation_part(data: FederatedData, client: ClientId) -> Examples:
    """Return the examples that ``client`` keeps for validation; empty where it has none.

    Args:
        data: of all clients.
        client: a source; below 0 for the imagined one that holds every source's examples.
    """
    if client >= 0:
        return data.part(client, "val")
    parts = [data.part(info.id, "val") for info in data.clients if info.role == "source"]
    weights = [part.weights for part in parts if part.weights is not None]
    return Examples(
        torch.cat([part.inputs for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat(weights) if weights else None,
    )
