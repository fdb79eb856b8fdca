"""The workloads that speed is measured on: plain values, which every peer's environment can read.

Synthetic numbers: what is measured is time, and it does not depend on what is in the images.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workload:
    """Clients that train a small model with SGD, some of them in each round."""

    side: int
    """Of the square images."""
    planes: int = 1
    """Channels of the images."""
    width: int = 0
    """Of FedDM's ConvNet, three blocks deep; 0: it is another network."""
    hidden: int = 0
    """Of a perceptron with one hidden layer; 0: the network is convolutional."""
    channels: tuple[int, int] = (0, 0)
    kernel: int = 3
    padding: int = 1
    clients: int = 1000
    cohort: int = 100
    examples: int = 50
    batch: int = 10
    lr: float = 0.1

    @property
    def flat(self) -> int:
        """How many numbers the convolutional part makes of one image."""
        lost = self.kernel - 1 - 2 * self.padding
        return self.channels[1] * (((self.side - lost) // 2 - lost) // 2) ** 2


WORKLOADS = {
    "W1": Workload(28, channels=(16, 32), kernel=5, padding=0),
    "W1b": Workload(8, channels=(32, 64)),
    "W1m": Workload(28, hidden=100),
    "tiny": Workload(8, hidden=40),
    "W2": Workload(32, planes=3, width=128, clients=10, cohort=10, examples=500, batch=50, lr=0.01),
}


def tree_cpu() -> float:
    """Return the seconds of CPU that this process and all its descendants have taken."""
    tick, parents, spent = os.sysconf("SC_CLK_TCK"), {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(fields[1])
            # utime, stime and those of children that have ended
            spent[int(entry.name)] = sum(map(int, fields[11:15])) / tick
    total = 0.0
    for pid, seconds in spent.items():
        at: int | None = pid
        while at is not None and at != os.getpid():
            at = parents.get(at)
        total += seconds if at is not None else 0.0
    return total
