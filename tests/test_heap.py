"""Freed memory stays with the process, and comes back when it is asked for again."""

from __future__ import annotations

import platform
import resource

import pytest
import torch

from fedsim.worker.allocator import IN_HEAP, keep_freed_memory

GLIBC = platform.libc_ver()[0] == "glibc"


def faults_of_a_tensor(size: int) -> int:
    """Return how many pages had to be mapped for a tensor that is filled and dropped."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(size, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not GLIBC, reason="only glibc can be told")
def test_a_tensor_that_was_dropped_leaves_its_pages_to_the_next_one() -> None:
    assert keep_freed_memory()
    size = IN_HEAP - (1 << 20)
    faults_of_a_tensor(size)
    # The first few may each be given a new place, until those that are free lie side by side.
    assert min(faults_of_a_tensor(size) for _ in range(30)) < size // 4096 // 10


@pytest.mark.skipif(GLIBC, reason="glibc can be told")
def test_where_it_cannot_be_told_it_says_so() -> None:
    assert not keep_freed_memory()
