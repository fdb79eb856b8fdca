"""Clients run one after another in this process: for laptops, tests and debuggers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedsim.flower.grid import ChunkGrid, Deal
from fedsim.flower.host import ChunkReply, Host
from fedsim.scenario.schema import Scenario

__all__ = ["LocalGrid"]


class LocalGrid(ChunkGrid):
    """One host, no other process."""

    def __init__(self, scenario: Scenario, store: Path, device: str = "cpu") -> None:
        self._host = Host(scenario, store, device)
        chunk = scenario.compute.chunk
        super().__init__(len(self._host.worker.data.clients), 1, None if chunk == "auto" else chunk)

    def deliver(self, deal: Deal) -> Iterator[ChunkReply]:
        """Yield the reply to each chunk in turn."""
        for chunk in deal.chunks:
            yield self._host.run(chunk, deal.contents)

    def close(self) -> None:
        """Nothing to end."""
