"""Tasks are dealt so that workers end together, and groups do not depend on who works."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.flower.chunk import Chunk
from fedsim.runtime.scheduling import CostModel, Scheduler
from fedsim.wire import ReplyInfo


def asked(count: int, contents: int = 1) -> list[tuple[int, int]]:
    return [(client, client % contents) for client in range(count)]


@given(
    st.integers(1, 60),
    st.integers(1, 4),
    st.none() | st.integers(1, 9),
    st.integers(1, 7),
    st.integers(1, 3),
)
def test_everyone_is_asked_once_and_groups_are_the_cohorts_alone(
    clients, workers, chunk, together, contents
) -> None:
    sizes = np.arange(clients) % 13
    requests = asked(clients, contents)

    def groups(workers: int, chunk: int | None) -> list[tuple[int, ...]]:
        dealing = Scheduler(workers, chunk, together, CostModel(sizes))
        dealt = list(dealing.chunks("train", requests))
        assert all(0 <= home < workers for home, _ in dealt)
        for _, part in dealt:
            assert all(dict(requests)[k] == group.content for group in part for k in group.clients)
        return sorted(group.clients for _, part in dealt for group in part)

    found = groups(workers, chunk)
    assert sorted(client for group in found for client in group) == list(range(clients))
    assert found == groups(1, None)
    assert all(len(group) <= together and list(group) == sorted(group) for group in found)


def test_a_worker_gets_big_chunks_first_and_small_ones_last() -> None:
    dealing = Scheduler(2, None, 1, CostModel(np.full(64, 50)))
    sizes = [
        sum(len(group.clients) for group in part)
        for home, part in dealing.chunks("train", asked(64))
        if home == 0
    ]
    assert sizes == [16, 8, 4, 2, 2]


def test_what_turns_took_is_learned_as_a_line_over_the_examples() -> None:
    costs = CostModel(np.array([0, 10, 20, 30]))
    costs.learn("train", [ReplyInfo(k, seconds=2.0 + 0.5 * 10 * k) for k in (1, 2, 3)])
    assert costs.of("train", [0]) == pytest.approx([2.0])
    assert costs.of("train", [1, 3]) == pytest.approx([7, 17])
    assert costs.of("other", [1, 3]) == pytest.approx([11, 31])  # as long as nothing is known


def test_a_turn_that_failed_teaches_nothing() -> None:
    costs = CostModel(np.array([1, 2]))
    costs.learn("train", [ReplyInfo(0, seconds=99.0, fault="broken"), ReplyInfo(1)])
    assert costs.of("train", [0]) == [2.0]


def test_a_chunk_whose_worker_died_falls_apart_by_groups_and_then_by_clients() -> None:
    chunk = Chunk([1, 2, 3, 4, 5], [0, 0, 1, 1, 1], {}, "train", True, [2, 3])
    first, second = chunk.parts()
    assert (first.clients, first.content_of, first.groups) == ([1, 2], [0, 0], [2])
    assert (second.clients, second.content_of, second.groups) == ([3, 4, 5], [1, 1, 1], [3])
    assert [(one.clients, one.groups) for one in second.parts()] == [
        ([3], [1]),
        ([4], [1]),
        ([5], [1]),
    ]
    assert [one.clients for one in replace(chunk, groups=[1] * 5).parts()] == [
        [1],
        [2],
        [3],
        [4],
        [5],
    ]


def test_a_group_alone_in_its_chunk_is_done_again_whole_before_it_is_taken_apart() -> None:
    chunk = Chunk([1, 2, 3], [0, 0, 0], {}, "train", True, [3])
    (once,) = chunk.parts()
    assert (once.clients, once.groups) == ([1, 2, 3], [3])
    assert [one.clients for one in once.parts()] == [[1], [2], [3]]
