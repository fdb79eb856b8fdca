"""What the engine makes of a cohort's updates: the exact means of their addends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fedsim.aggregate import Sums
from fedsim.strategy import Strategy, is_sum
from fedsim.wire import ClientInfo, Merged, Update


def summed(strategy: Strategy, updates: Sequence[Update], clients: Iterable[ClientInfo]) -> Merged:
    """Return the means over ``updates``, each added with what is known of its client."""
    if not is_sum(strategy):
        return strategy.aggregate(updates)
    known, sums = {client.id: client for client in clients}, Sums()
    for update in updates:
        sums.add(update.client, strategy.addends(update, known[update.client]))
    return sums.merged()
