"""Sources for tasks other than classification give what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedsim.data.sources.digits_canvas import DigitsCanvas
from fedsim.data.sources.python_topics import PythonTopics
from fedsim.data.sources.simulated_survival import SimulatedSurvival
from fedsim.data.sources.text import Text
from fedsim.errors import DataError


def test_masks_and_marks_of_a_canvas_tell_of_the_same_digits(tmp_path: Path) -> None:
    marks = DigitsCanvas("marks", noise=0.0).load(3, tmp_path)
    masks = DigitsCanvas("masks", noise=0.0).load(3, tmp_path)
    assert np.array_equal(marks.inputs, masks.inputs)
    for mark, mask in zip(marks.labels, masks.labels, strict=True):
        assert set(np.unique(mask)) - {0} == set(np.flatnonzero(mark) + 1)
    assert marks.inputs[masks.labels[:, None] > 0].min() > 0.35


def test_a_simulated_cohort_has_the_effects_that_it_says(tmp_path: Path) -> None:
    cohort = SimulatedSurvival(rows=20_000, censored=0.3).load(1, tmp_path)
    time, event = cohort.labels.T
    assert event.mean() == pytest.approx(0.7, abs=0.02)
    seen = event == 1
    matter = [np.corrcoef(cohort.inputs[seen, k], np.log(time[seen]))[0, 1] for k in range(8)]
    assert matter[0] < -0.3
    assert all(abs(value) < 0.03 for value in matter[4:])


def test_a_window_s_targets_are_the_next_tokens(tmp_path: Path) -> None:
    (tmp_path / "ann.txt").write_text("abcdefghij")
    (tmp_path / "bob.txt").write_text("jihgfedcba")
    data = Text(path=".", length=4, test_share=0.0).load(1, tmp_path)
    assert data.client_names == ("ann", "bob")
    assert data.client is not None
    assert data.client.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.inputs[0].tolist() == [0, 1, 2, 3]
    assert data.labels[0].tolist() == [1, 2, 3, 4]
    assert data.inputs[2].tolist() == [8, 11, 11, 11]  # i, and what fills up
    assert data.labels[2].tolist() == [9, -1, -1, -1]
    assert data.classes == 12  # ten letters, unknown, filler


def test_the_test_split_is_the_end_of_each_client_s_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x" * 80 + "y" * 20)
    data = Text(path="a.txt", length=10).load(1, tmp_path)
    assert set(np.unique(data.inputs)) <= {0, 2}  # x, and what fills up
    assert data.test_inputs is not None
    assert set(np.unique(data.test_inputs)) <= {1, 2}  # unknown: the vocabulary has never met y


def test_roles_of_an_archive_are_clients(tmp_path: Path) -> None:
    text = np.frombuffer(b"to beornot to", np.uint8)
    np.savez(
        tmp_path / "roles.npz",
        text=text,
        offset=np.array([0, 5, 8, 13]),
        client=np.array([1, 0, 1]),
        client_names=np.array(["A", "B"]),
    )
    roles = dict(Text(path="roles.npz").texts(tmp_path))
    assert roles == {"A": b"orn", "B": b"to be\not to"}
    np.savez(tmp_path / "bad.npz", text=text)
    with pytest.raises(DataError, match="offset"):
        Text(path="bad.npz").texts(tmp_path)


def test_every_python_has_topics_enough_for_clients(tmp_path: Path) -> None:
    data = PythonTopics(min_tokens=4000).load(1, tmp_path)
    assert len(data.client_names) > 15
    with pytest.raises(DataError, match="no client has"):
        PythonTopics(min_tokens=10_000_000).load(1, tmp_path)
