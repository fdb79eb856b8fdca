"""No order, no chunk and no number of workers changes what a cohort comes to."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.aggregate import Sums
from fedsim.exact_sum import LIMIT
from fedsim.seeds import torch_stream
from fedsim.strategies.fedavg import FedAvg
from fedsim.strategies.fedmedian import FedMedian
from fedsim.strategies.fedtrimmedavg import FedTrimmedAvg
from fedsim.strategy import Strategy
from fedsim.wire import Addend, ClientInfo, Update

SIZES = st.lists(st.integers(0, 10**6), min_size=1, max_size=12).filter(any)


def cohort(sizes: list[int], seed: int) -> list[Update]:
    """Deltas over twenty orders of magnitude, so that plain sums would differ by order."""
    generator = torch_stream(seed, "deltas")
    updates = []
    for client, examples in enumerate(sizes):
        scale = 10.0 ** torch.randint(-18, 2, (5,), generator=generator).float()
        updates.append(Update(client, {"w": torch.randn(5, generator=generator) * scale}, examples))
    return updates


@pytest.mark.parametrize("strategy", [FedAvg(), FedMedian(), FedTrimmedAvg()], ids=repr)
@given(sizes=SIZES, seed=st.integers(0, 99), data=st.data())
@settings(deadline=None, max_examples=25)
def test_the_order_of_updates_changes_no_bit(
    strategy: Strategy, sizes: list[int], seed: int, data: st.DataObject
) -> None:
    updates = cohort(sizes, seed)
    shuffled = data.draw(st.permutations(updates))
    one, other = strategy.aggregate(updates), strategy.aggregate(shuffled)
    assert torch.equal(one.delta["w"], other.delta["w"])
    assert one.clients == other.clients


@given(sizes=SIZES, seed=st.integers(0, 99), cuts=st.sets(st.integers(1, 11)), data=st.data())
@settings(deadline=None, max_examples=50)
def test_partial_sums_of_any_chunks_come_to_the_whole(
    sizes: list[int], seed: int, cuts: set[int], data: st.DataObject
) -> None:
    updates, strategy = cohort(sizes, seed), FedAvg()
    bounds = [0, *sorted(cut for cut in cuts if cut < len(updates)), len(updates)]
    chunks = []
    for start, stop in pairwise(bounds):
        chunk = Sums()
        for update in updates[start:stop]:
            chunk.add(
                update.client, strategy.addends(update, ClientInfo(update.client, update.examples))
            )
        chunks.append(chunk)
    whole = Sums()
    for chunk in data.draw(st.permutations(chunks)):
        whole.merge(chunk)
    one, other = strategy.aggregate(updates), whole.merged()
    assert torch.equal(one.delta["w"], other.delta["w"])
    assert (one.weights, one.clients) == (other.weights, other.clients)


@given(sizes=SIZES, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=50)
def test_the_mean_is_numpy_s_in_float64(sizes: list[int], seed: int) -> None:
    updates = cohort(sizes, seed)
    stacked = np.stack([update.delta["w"].double().numpy() for update in updates])
    truth = np.average(stacked, axis=0, weights=sizes)
    ours = FedAvg().aggregate(updates).delta["w"].numpy()
    np.testing.assert_allclose(ours, truth, rtol=1e-12, atol=1e-12)


def test_more_terms_than_the_lower_limb_holds_are_carried() -> None:
    sums, tiny = Sums(), {"w": torch.full((3,), 2.0**-17 - 2.0**-60, dtype=torch.float64)}
    sums.add(0, {"delta": Addend(tiny, 1.0)})
    for _ in range(20):  # doubled twenty times: a million terms
        twice = Sums()
        twice.merge(sums)
        sums.merge(twice)
    merged = sums.merged()
    assert merged.weights["delta"] == 2.0**20
    assert merged.total("delta")["w"].tolist() == [2.0**20 * (2.0**-17 - 2.0**-60)] * 3


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -2 * LIMIT])
def test_what_cannot_be_summed_is_refused_and_leaves_the_sums_untouched(bad: float) -> None:
    sums = Sums()
    good = Addend({"w": torch.tensor([1.0, 2.0])}, 3.0)
    sums.add(0, {"a": good, "b": good})
    with pytest.raises(ValueError, match="w: not finite, or larger"):
        sums.add(1, {"a": good, "b": Addend({"w": torch.tensor([1.0, bad])}, 1.0)})
    merged = sums.merged()
    assert merged.clients == (0,)
    assert merged.means["a"]["w"].tolist() == [1.0, 2.0]
    assert merged.weights == {"a": 3.0, "b": 3.0}


@pytest.mark.parametrize(
    "other", [{"v": torch.zeros(2)}, {"w": torch.zeros(1)}], ids=["name", "shape"]
)
def test_updates_of_another_model_are_refused_and_leave_the_sums_untouched(
    other: dict[str, torch.Tensor],
) -> None:
    sums, good = Sums(), Addend({"w": torch.ones(2)}, 1.0)
    sums.add(0, {"a": good, "b": good})
    with pytest.raises(ValueError, match="names or shapes differ"):
        sums.add(1, {"a": good, "b": Addend(other, 1.0)})
    assert sums.merged().weights == {"a": 1.0, "b": 1.0}


def test_a_cohort_without_examples_has_no_mean() -> None:
    with pytest.raises(ValueError, match="no update carries any weight"):
        FedAvg().aggregate([Update(0, {"w": torch.zeros(2)}, 0)])
