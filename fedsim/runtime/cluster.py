"""Checks a cluster before a run: what each node has, what differs, how fast it is reached."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fedsim.errors import FedsimError
from fedsim.runtime.allocation import ClusterNode, allocate, spread
from fedsim.runtime.ray_session import driver_node, nodes, start
from fedsim.runtime.ray_workers import cause
from fedsim.runtime.versions import installed, version_mismatches

if TYPE_CHECKING:
    from fedsim.schema.scenario import Compute

__all__ = ["ClusterReport", "NodeReport", "survey"]

ANSWER_S = 60.0
"""What a node may take to start a process that loads fedsim."""

PAYLOAD = 32 << 20
"""Bytes that are sent to each node to see how fast they get there."""

CLOCKS = 5
"""Times that a node is asked for its clock; the quickest answer counts."""


@dataclass(frozen=True)
class NodeReport:
    """What was found on one node; None: it did not get that far."""

    id: str
    name: str
    is_here: bool
    """Whether the driver is on it."""
    workers: int
    """How many a run would have there."""
    cpus: int
    gpus: float
    memory_bytes: int | None = None
    versions: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()
    """What differs from the driver's versions, so that results may differ in their last bits."""
    sees_data: bool | None = None
    """Whether it sees the driver's files; if not, a run's data is shipped to it, once."""
    bytes_per_second: float | None = None
    """From the driver through the object store."""
    clock_seconds: float | None = None
    """What its clock is ahead of the driver's."""
    faults: tuple[str, ...] = ()
    """Why a run would not work."""
    data_fault: str = ""
    """Why shipped data could not be kept there."""


@dataclass(frozen=True)
class ClusterReport:
    """What was found on a cluster."""

    address: str
    workers: int
    gpus_per_worker: float
    free_cpus: int
    """What other runs leave: with fewer than there are workers, a run waits."""
    versions: Mapping[str, str]
    """The driver's."""
    nodes: tuple[NodeReport, ...]


class Probe:
    """What looks around on a node."""

    def versions(self) -> dict[str, str]:
        """Return what is installed."""
        return installed()

    def memory(self) -> int:
        """Return the machine's memory in bytes."""
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def sees(self, path: Path, text: str) -> bool:
        """Return whether a file is here, and says what it should."""
        try:
            return path.read_text() == text
        except OSError:
            return False

    def fault(self) -> str:
        """Return why shipped data could not be kept here; empty if it could."""
        from fedsim.runtime.data_shipping import cache_folder

        try:
            with cache_folder():
                return ""
        except (FedsimError, OSError) as error:
            return str(error)

    def fetch(self, refs: Sequence[Any]) -> float:
        """Return how many seconds it takes until an object is here."""
        begun = time.perf_counter()
        ray.get(refs[0])
        return time.perf_counter() - begun

    def clock(self) -> float:
        """Return the time."""
        return time.time()


def survey(compute: Compute, folder: Path) -> ClusterReport:
    """Return what a run with ``compute`` would meet.

    Args:
        compute: names the cluster.
        folder: where run folders are made.

    Raises:
        ScenarioError: if the cluster cannot be joined, or is too small.
    """
    start(compute.address, compute.workers)
    try:
        there = sorted(nodes(), key=lambda node: (node.id != driver_node(), node.name, node.id))
        allocation = allocate(there, compute)
        import numpy as np

        payload = ray.put(np.zeros(PAYLOAD, np.uint8))
        with _token(folder) as token:
            reports = tuple(
                _looked_at(node, count, token, payload)
                for node, count in zip(there, spread(there, allocation), strict=True)
            )
        free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
        return ClusterReport(
            address=str(compute.address),
            workers=allocation.workers,
            gpus_per_worker=allocation.gpus,
            free_cpus=int(free.get("CPU", 0)),
            versions=installed(),
            nodes=reports,
        )
    finally:
        ray.shutdown()


Token = tuple[Path, str]


@contextmanager
def _token(folder: Path) -> Iterator[Token]:
    """Leave a file where run folders are made, as long as the block lasts."""
    folder = folder.absolute()
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    text = secrets.token_hex()
    with tempfile.NamedTemporaryFile("w", dir=there, prefix=".fedsim-") as file:
        file.write(text)
        file.flush()
        yield Path(file.name), text


def _looked_at(node: ClusterNode, workers: int, token: Token, payload: Any) -> NodeReport:
    facts: dict[str, Any] = {
        "id": node.id,
        "name": node.name,
        "is_here": node.id == driver_node(),
        "workers": workers,
        "cpus": node.cpus,
        "gpus": node.gpus,
    }
    remote: Any = ray.remote(Probe)  # ray makes its methods at run time
    strategy = NodeAffinitySchedulingStrategy(node.id, soft=False)
    probe = remote.options(num_cpus=0, scheduling_strategy=strategy).remote()

    def ask(method: str, *words: Any) -> Any:
        return ray.get(getattr(probe, method).remote(*words), timeout=ANSWER_S)

    try:
        facts["versions"] = ask("versions")
        facts |= asdict(version_mismatches(facts["versions"], installed()))
        facts["memory_bytes"] = ask("memory")
        facts["sees_data"] = ask("sees", *token)
        facts["data_fault"] = "" if facts["sees_data"] else ask("fault")
        if not facts["is_here"]:
            facts["bytes_per_second"] = PAYLOAD / max(ask("fetch", [payload]), 1e-6)
            facts["clock_seconds"] = _ahead(lambda: ask("clock"))
    except ray.exceptions.GetTimeoutError:
        facts["faults"] = (f"it starts no process within {ANSWER_S:.0f} s",)
    except ray.exceptions.RayError as error:
        facts["faults"] = (f"fedsim does not start there: {cause(error)}",)
    finally:
        ray.kill(probe)
    return NodeReport(**facts)


def _ahead(clock: Callable[[], float]) -> float:
    """Return what a clock is ahead of ours, to within half of the quickest answer's time."""
    answers = []
    for _ in range(CLOCKS):
        before, remote, after = time.time(), clock(), time.time()
        answers.append((after - before, remote - (before + after) / 2))
    return min(answers)[1]
