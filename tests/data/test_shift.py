"""Feature shifts and the cuts they rest on."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.data.dataset import Shift
from fedsim.data.image_transforms import blurred, rotated
from fedsim.data.shift import Contrast, Noise, Rotation
from fedsim.data.split import cut, stratified
from fedsim.errors import DataError

IMAGES = np.random.default_rng(0).random((2, 3, 6, 6), dtype=np.float32)


def generator() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize("shift", [Noise(0.5), Rotation(90), Contrast(0.8)])
def test_client_0_is_not_shifted_and_the_last_is(shift: Shift) -> None:
    first = shift.apply(IMAGES, 0, 2, generator())
    last = shift.apply(IMAGES, 1, 2, generator())
    assert first == pytest.approx(IMAGES, abs=1e-6)
    assert np.abs(last - IMAGES).max() > 0.1
    assert last.dtype == np.float32
    assert last.shape == IMAGES.shape


def test_half_of_180_degrees_is_a_quarter_turn() -> None:
    turned = Rotation(180).apply(IMAGES, 1, 2, generator())
    assert turned == pytest.approx(np.rot90(IMAGES, axes=(2, 3)), abs=1e-5)


def test_a_half_turn_of_an_oblong_flips_both_ways() -> None:
    oblong = IMAGES[:, :, :4]
    assert rotated(oblong, 180) == pytest.approx(oblong[:, :, ::-1, ::-1], abs=1e-5)


def test_contrast_keeps_the_mean() -> None:
    faded = Contrast(1.0).apply(IMAGES, 1, 2, generator())
    assert faded.mean(axis=(1, 2, 3)) == pytest.approx(IMAGES.mean(axis=(1, 2, 3)))
    assert faded.std() == pytest.approx(IMAGES.std() / 2, rel=0.05)


def test_blurring_is_the_mean_of_the_neighbours() -> None:
    dot = np.zeros((1, 1, 5, 5), np.float32)
    dot[0, 0, 2, 2] = 9
    assert blurred(dot)[0, 0].tolist() == [
        [0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0],
    ]  # fmt: skip


@pytest.mark.parametrize("shift", [Rotation(), Contrast()])
def test_tables_cannot_be_turned(shift: Shift) -> None:
    with pytest.raises(DataError, match=r"needs images .* not inputs of \(7,\)"):
        shift.apply(np.zeros((2, 7), np.float32), 1, 2, generator())


LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array)


@given(labels=LABELS, seed=st.integers(0, 99), length=st.integers(0, 60))
def test_every_prefix_of_a_stratified_order_holds_each_class_in_proportion(
    labels: np.ndarray, seed: int, length: int
) -> None:
    order = stratified(labels, np.random.default_rng(seed))
    assert sorted(order) == list(range(len(labels)))
    prefix = np.bincount(labels[order[:length]], minlength=5)
    share = min(length, len(labels)) / len(labels)
    assert np.abs(prefix - share * np.bincount(labels, minlength=5)).max() <= 5


@given(labels=LABELS, seed=st.integers(0, 99))
def test_a_cut_is_disjoint_covers_all_and_leaves_a_rest(labels: np.ndarray, seed: int) -> None:
    parts = cut(labels, [Fraction(1, 3), Fraction(1, 2)], np.random.default_rng(seed))
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    assert [len(part) for part in parts[1:]] == [len(labels) // 3, len(labels) // 2]
    assert len(parts[0])


def test_shares_are_exact_where_floats_are_not() -> None:
    assert len(cut(np.zeros(100, int), [Fraction(29, 100)], generator())[1]) == 29
