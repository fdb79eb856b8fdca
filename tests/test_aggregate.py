"""Tensors of zeros are left out of exact sums, and no bit of a sum tells."""

from __future__ import annotations

import pickle  # noqa: TID251 -- what Ray does
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.aggregate import Sums
from fedsim.exact_sum import LIMIT, ExactSum
from fedsim.seeds import torch_stream
from fedsim.term_buffer import LARGE
from fedsim.wire import Addend, Weights

SHAPES = {"a": (LARGE,), "b": (3,), "c": (2, LARGE), "d": (1,), "e": (LARGE,)}

Moved = st.lists(st.sets(st.sampled_from(sorted(SHAPES))), min_size=1, max_size=8)
"""Which tensors each of a few clients has moved."""


def terms(moved: list[set[str]]) -> list[Weights]:
    generator = torch_stream(1, "terms")
    return [
        {
            name: torch.randn(shape, generator=generator) * (name in of)
            for name, shape in SHAPES.items()
        }
        for of in moved
    ]


def summed(values: list[Weights], weight: float = 3.0) -> ExactSum:
    found = ExactSum()
    for value in values:
        addend = Addend(value, weight)
        prepared = found.prepare(addend)
        found.commit(prepared)
    return found


def is_same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@given(moved=Moved, cut=st.integers(0, 8), data=st.data())
@settings(deadline=None, max_examples=40)
def test_whoever_moves_whatever_in_any_order_and_chunks_the_sum_is_exact(
    moved: list[set[str]], cut: int, data: st.DataObject
) -> None:
    values = terms(moved)
    total = summed(values).total()
    chunks = summed(values[:cut])
    shuffled = data.draw(st.permutations(values[cut:]))
    chunks.merge(pickle.loads(pickle.dumps(summed(shuffled))))
    assert is_same(chunks.total(), total)
    for name, at in (("a", 7), ("c", LARGE + 1), ("e", LARGE - 1)):
        exact = sum(Fraction(float(value[name].flatten()[at])) * 3 for value in values)
        assert total[name].flatten()[at].item() == float(round(exact * 2**60) / Fraction(2**60))


def test_a_sum_of_zeros_alone_is_zeros() -> None:
    still = summed(terms([set(), set()]))
    other = ExactSum()
    other.merge(still)
    for found in (still, other):
        assert found.weight == 6.0
        assert {name: tuple(value.shape) for name, value in found.mean().items()} == SHAPES
        assert not any(value.any() for value in found.total().values())


def test_a_term_that_is_refused_leaves_the_sum_as_it_was() -> None:
    values = terms([{"a", "b"}, {"a"}])
    found, bad = summed(values), terms([{"c"}])[0]
    bad["c"][0, 0] = 2 * LIMIT
    with pytest.raises(ValueError, match="c: not finite, or larger"):
        found.prepare(Addend(bad, 1.0))
    assert is_same(found.total(), summed(values).total())


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_zeros_do_not_hide_a_weight_that_is_not_finite(weight: float) -> None:
    sums = Sums()
    with pytest.raises(ValueError, match="not finite"):
        sums.add(0, {"delta": Addend(terms([set()])[0], weight)})
    assert sums.clients == []
