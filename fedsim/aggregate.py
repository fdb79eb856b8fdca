"""From many to one: exact means of updates, medians and trimmed means, means of metrics.

``median`` and ``trimmed_mean`` compare the clients coordinate by coordinate and need them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fedsim.exact_sum import ExactSum
from fedsim.wire import Addend, ClientId, Merged, ReplyInfo, Update, Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sums", "mean_metrics", "median", "trimmed_mean"]


class Sums:
    """The named sums of a cohort, or of one chunk of it."""

    def __init__(self) -> None:
        self.by_name: dict[str, ExactSum] = {}
        self.clients: list[ClientId] = []

    def add(self, client: ClientId, addends: Mapping[str, Addend]) -> None:
        """Add what one client contributes; all of it or, if it raises, nothing.

        Raises:
            ValueError: if a term cannot be summed; see :meth:`ExactSum.prepare`.
        """
        sums = {name: self.by_name.get(name) or ExactSum() for name in addends}
        prepared = {name: sums[name].prepare(addend) for name, addend in addends.items()}
        for name, term in prepared.items():
            sums[name].commit(term)
        self.by_name.update(sums)
        self.clients.append(client)

    def merge(self, other: Sums) -> None:
        """Add another chunk's sums.

        Raises:
            ValueError: if two sums of one name have other tensors; nothing is changed then.
        """
        for name, part in other.by_name.items():
            self.by_name.setdefault(name, ExactSum()).check(part)
        for name, part in other.by_name.items():
            self.by_name[name].merge(part)
        self.clients.extend(other.clients)

    def merged(self) -> Merged:
        """Return the means over all that was added.

        Raises:
            ValueError: if a mean's weights sum to zero.
        """
        return Merged(
            means={name: part.mean() for name, part in sorted(self.by_name.items())},
            weights={name: part.weight for name, part in sorted(self.by_name.items())},
            clients=tuple(sorted(self.clients)),
        )


def median(updates: Sequence[Update]) -> Weights:
    """Return the coordinate-wise median of the deltas (Yin et al., ICML 2018, Algorithm 1).

    Raises:
        ValueError: if there is no update.
    """

    def middle(stacked: Tensor) -> Tensor:  # (clients, *shape)
        ordered = stacked.sort(dim=0).values
        return (ordered[(len(stacked) - 1) // 2] + ordered[len(stacked) // 2]) / 2

    return _reduce_stacked(updates, middle)


def trimmed_mean(updates: Sequence[Update], trim: int) -> Weights:
    """Return each coordinate's mean without its ``trim`` lowest and highest values.

    Yin et al., ICML 2018, Algorithm 1, Option II.

    Raises:
        ValueError: if there is no update, or trimming leaves none.
    """

    def middle(stacked: Tensor) -> Tensor:  # (clients, *shape)
        if 2 * trim >= len(stacked):
            raise ValueError(f"trimming {trim} off each end leaves none of {len(stacked)} updates")
        return stacked.sort(dim=0).values[trim : len(stacked) - trim].mean(dim=0)

    return _reduce_stacked(updates, middle)


def _reduce_stacked(updates: Iterable[Update], reduce: Callable[[Tensor], Tensor]) -> Weights:
    import torch

    deltas = [update.delta for update in updates]
    if not deltas:
        raise ValueError("cannot aggregate: there is no update")
    return {
        name: reduce(torch.stack([delta[name].double() for delta in deltas])) for name in deltas[0]
    }


def mean_metrics(turns: Sequence[ReplyInfo]) -> dict[str, float]:
    """Return the mean of each metric over ``turns``, weighted by examples.

    A turn whose metric is not finite, or that worked on no example, is left out of that mean.
    """
    means = {}
    for name in sorted({name for turn in turns for name in turn.metrics}):
        counted = [
            turn
            for turn in turns
            if turn.examples and math.isfinite(turn.metrics.get(name, math.nan))
        ]
        if counted:
            total = math.fsum(turn.metrics[name] * turn.examples for turn in counted)
            means[name] = total / sum(turn.examples for turn in counted)
    return means
