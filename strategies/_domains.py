"""What a server of several domains needs to know of clients, model and sums."""

from __future__ import annotations

from collections.abc import Sequence

from fedsim.errors import RunError
from fedsim.wire import ClientInfo, Merged, Weights

__all__ = ["added", "check_roles", "classifier_shape"]


def added(merged: Merged, name: str) -> Weights:
    """Return the sources' mean of ``name`` plus the targets', in float64.

    The domains' losses are added, so their clients' updates are too: with one local step this is
    a step on the sum of the losses.  A role that nobody had this time adds nothing.
    """
    total: Weights = {}
    for role in ("source", "target"):
        for key, value in merged.means.get(f"{name}.{role}", {}).items():
            total[key] = total[key] + value if key in total else value
    return total


def check_roles(clients: Sequence[ClientInfo], strategy: str) -> None:
    """Refuse a federation in which there is nothing to adapt to, or from.

    Raises:
        RunError: if no client is a target, or none a source.
    """
    roles = {client.role for client in clients}
    if "target" not in roles:
        raise RunError(
            f"{strategy} adapts to target clients and there is none: say which domains are targets "
            "in data.partition, such as {use: domains, targets: [rotated]}"
        )
    if "source" not in roles:
        raise RunError(
            f"{strategy} learns from source clients and there is none: data.partition.targets "
            "names every domain"
        )


def classifier_shape(weights: Weights, strategy: str) -> tuple[int, int]:
    """Return the model's number of classes and the width of its features.

    Raises:
        RunError: if the model has no linear layer called ``head`` to read them from.
    """
    head = weights.get("head.weight")
    if head is None or head.ndim != 2:
        raise RunError(
            f"{strategy} aligns the features before a linear layer called head, and the model has "
            "none: take a reference model, or give yours features(x) and head(z)"
        )
    classes, width = head.shape
    return classes, width
