"""Clients run one after another in this process: for laptops, tests and debuggers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fedsim.flower.chunk import ChunkReply
from fedsim.runtime.grid import ChunkGrid, Schedule
from fedsim.runtime.host import Host
from fedsim.runtime.scheduling import scheduler_of
from fedsim.schema.scenario import Scenario

__all__ = ["LocalGrid"]


class LocalGrid(ChunkGrid):
    """One host, no other process."""

    def __init__(self, scenario: Scenario, store: Path, device: str = "cpu") -> None:
        self._host = Host(scenario, store, device)
        data = self._host.worker.data
        super().__init__(len(data.clients), scheduler_of(scenario, data.sizes, workers=1))

    def deliver(self, deal: Schedule) -> Iterator[ChunkReply]:
        """Yield the reply to each chunk in turn."""
        for chunk in deal.chunks:
            yield self._host.run(chunk, deal.contents)

    def close(self) -> None:
        """Nothing to end."""
