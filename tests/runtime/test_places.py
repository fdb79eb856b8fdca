"""Workers fit the cluster that they are dealt to, or the run is refused in one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.errors import ScenarioError
from fedsim.runtime.allocation import Allocation, ClusterNode, allocate, spread
from fedsim.schema.scenario import Compute


def cluster(*held: tuple[int, float]) -> list[ClusterNode]:
    return [ClusterNode(str(at), f"n{at}", cpus, gpus) for at, (cpus, gpus) in enumerate(held)]


def asked(**compute: object) -> Compute:
    return Compute.model_validate(compute)


@pytest.mark.parametrize(
    ("nodes", "compute", "found"),
    [
        (cluster((4, 0), (2, 0)), {}, Allocation(6, 0.0)),
        (cluster((4, 0), (0, 0)), {"workers": 3}, Allocation(3, 0.0)),
        (cluster((16, 1)), {}, Allocation(16, 0.0625)),
        (cluster((8, 8)), {"workers": 4}, Allocation(4, 1.0)),
        (cluster((8, 3)), {"workers": 8}, Allocation(8, 0.3333)),  # 3/8 of a GPU fits but six times
        (cluster((4, 2), (16, 0)), {}, Allocation(4, 0.5)),  # the other node has no GPU
        (
            cluster((4, 2), (16, 0)),
            {"workers": 20},
            Allocation(20, 0.0),
        ),  # more than share the GPUs
        (cluster((4, 2), (16, 0)), {"gpus_per_worker": 0}, Allocation(20, 0.0)),
        (cluster((16, 2)), {"gpus_per_worker": 0.5}, Allocation(4, 0.5)),
        (cluster((16, 4)), {"gpus_per_worker": 2}, Allocation(2, 2.0)),
    ],
)
def test_auto_takes_what_fits(nodes, compute, found) -> None:
    assert allocate(nodes, asked(**compute)) == found


@pytest.mark.parametrize(
    ("nodes", "compute", "said"),
    [
        (
            cluster((1, 0), (2, 0)),
            {"workers": 4},
            "compute.workers: 4, but the cluster has room for 3 (n0: 1 CPU; n1: 2 CPUs)",
        ),
        (
            cluster((8, 0)),
            {"gpus_per_worker": 0.5},
            "compute.gpus_per_worker: 0.5, but no node of the cluster has a GPU",
        ),
        (
            cluster((8, 1)),
            {"gpus_per_worker": 2},
            "compute.gpus_per_worker: 2, but the cluster has n0: 8 CPUs, 1 GPU",
        ),
        (
            cluster((8, 1)),
            {"gpus_per_worker": 0.5, "workers": 3},
            "compute.workers: 3, but the cluster has room for 2 of 0.5 GPU each "
            "(n0: 8 CPUs, 1 GPU)",
        ),
        (cluster((0, 0)), {}, "compute.workers: the cluster has no CPU: n0: 0 CPUs"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(nodes, compute, said) -> None:
    with pytest.raises(ScenarioError) as caught:
        allocate(nodes, asked(**compute))
    assert str(caught.value) == said


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1), st.integers(1, 12))
def test_the_workers_are_spread_over_room_that_is_there(held, workers) -> None:
    nodes = cluster(*held)
    try:
        found = allocate(nodes, asked(workers=workers))
    except ScenarioError:
        assert workers > sum(node.cpus for node in nodes)
        return
    count = spread(nodes, found)
    assert sum(count) == found.workers == workers
    for node, here in zip(nodes, count, strict=True):
        assert here <= node.cpus
        assert here * found.gpus <= node.gpus or not found.gpus
