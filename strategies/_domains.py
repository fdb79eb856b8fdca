"""What a server of several domains needs to know of clients, model and sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedsim.errors import RunError
from fedsim.strategy import Strategy
from fedsim.wire import Addend, ClientInfo, Merged, Update, Weights

__all__ = ["OfDomains", "added", "averaged", "by_role", "check_roles", "classifier_shape"]


@dataclass(frozen=True)
class OfDomains(Strategy):
    """A strategy in which every domain has a share in every phase."""

    def participates(self, phase: str, client: ClientInfo) -> bool:
        """Ask everyone."""
        return True


def by_role(update: Update, client: ClientInfo, **parts: Weights | None) -> dict[str, Addend]:
    """Return what a client adds to its role's means: its delta, and ``parts``.

    Args:
        update: one client's; one that worked on nothing adds nothing.
        client: who sent it.
        parts: what is there in some phases, by the names of the roles' means.
    """
    return {
        f"{name}.{client.role}": Addend(value, update.examples)
        for name, value in {**parts, "delta": update.delta}.items()
        if value and update.examples
    }


def averaged(merged: Merged, name: str) -> Weights:
    """Return the mean of the roles' means of ``name``, those of them that came, in float64."""
    roles = sum(f"{name}.{role}" in merged.means for role in ("source", "target"))
    return {key: value / roles for key, value in added(merged, name).items()}


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
