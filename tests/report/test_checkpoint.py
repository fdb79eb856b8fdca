"""A checkpoint gives back every bit, and a damaged one is never used."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fedsim.adapt.subspace_search import SubspaceSearch
from fedsim.errors import RunError
from fedsim.runlog import checkpoint as checkpoints
from fedsim.runlog.checkpoint import Checkpoint, newest, save
from fedsim.runlog.first_format import without_packed


def checkpoint(round: int = 1) -> Checkpoint:
    shared = torch.arange(6.0)
    return Checkpoint(
        round,
        {"a.b": torch.tensor([0.1, float("nan"), -0.0]), "a": torch.tensor(1.5)},
        {"a": {"b.c": torch.tensor([1 / 3], dtype=torch.float64)}, "a.b": {"c": shared}, "e": {}},
        {0: {"control": {"w": shared[::2]}}, 11: {"steps": {"n": torch.tensor(2**53 + 1)}}, 2: {}},
        {"spent": 1 / 3, "names": ["a", None, True]},
        {"turn": 3, "bandwidth": 1 / 3, "search.here": float("inf"), "orders": [1, 2]},
    )


def bits(value: object) -> object:
    """Return ``value`` in a form whose equality is equality of every bit and every name."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    return {name: bits(item) for name, item in value.items()}  # type: ignore[attr-defined]


def test_every_bit_and_every_name_comes_back(tmp_path: Path) -> None:
    before = checkpoint(7)
    save(tmp_path, before)
    after, notes = newest(tmp_path)
    assert after is not None
    assert notes == ()
    assert (after.round, after.plain, after.server) == (7, before.plain, before.server)
    for part in ("weights", "memory", "clients"):
        assert bits(getattr(after, part)) == bits(getattr(before, part))


FIRST_FORMAT: dict[str, dict[str, torch.Tensor]] = {
    "adversary": {"w": torch.ones(2)},
    "clock": {"turn": torch.tensor(3)},
    "joint": {"seed": torch.tensor(2**32 - 1)},
    "privacy": {"privacy-clip": torch.tensor(0.1, dtype=torch.float64)},
    "selected": {"w": torch.ones(2)},
    "selected.standing": {"score": torch.tensor(0.3).double(), "round": torch.tensor(2)},
    "start": {"of a strategy from outside": torch.ones(1)},
}


def test_what_version_0_1_packed_into_tensors_comes_back_as_plain_values(tmp_path: Path) -> None:
    path = save(tmp_path, replace(checkpoint(), memory=FIRST_FORMAT, server={}))
    state = json.loads((path / "state.json").read_text())
    state["format"] = 1
    del state["server"]
    (path / "state.json").write_text(json.dumps(state))
    (path / "SHA256SUMS").write_text(checkpoints._sums(path))
    after, _ = newest(tmp_path)
    assert after is not None
    assert bits(after.memory) == bits(
        {name: FIRST_FORMAT[name] for name in ("adversary", "selected", "start")}
    )
    assert after.server == {
        "turn": 3,
        "seed": 2**32 - 1,
        "privacy-clip": 0.1,
        "selected.score": float(torch.tensor(0.3).double()),
        "selected.round": 2,
    }


def test_jdmes_search_of_version_0_1_goes_on_where_it_was() -> None:
    at, numbers = torch.eye(3, 2, dtype=torch.float64), [0.5, 0.75, 0.25, 2.0, 1.0, 4.0, 1.0]
    entry = {"trial": at, "point": at + 1, "gradient": at + 2, "pull.source": at + 3}
    packed = {**entry, "numbers": torch.tensor(numbers, dtype=torch.float64)}
    tensors, plain = without_packed({"search": packed})
    search = SubspaceSearch.unpacked(tensors["search"], plain)
    assert (search.descent.here, search.descent.before, search.descent.size) == (0.5, 0.75, 0.25)
    assert (search.descent.shrunk, search.descent.needs) == (2, "slope")
    assert (search.queries, search.steps) == (4, 1)
    assert bits(search.tensors()) == bits(entry)


def test_the_newest_two_are_kept_by_number_not_by_text(tmp_path: Path) -> None:
    for round in (9998, 9999, 10000):
        save(tmp_path, checkpoint(round))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round_10000", "round_9999"]
    found, _ = newest(tmp_path)
    assert found is not None
    assert found.round == 10000


def test_no_checkpoint_is_none_without_a_note(tmp_path: Path) -> None:
    assert newest(tmp_path) == (None, ())
    assert newest(tmp_path / "absent") == (None, ())


def test_200_bit_flips_are_all_seen_and_the_one_before_is_used(tmp_path: Path) -> None:
    save(tmp_path, checkpoint(1))
    damaged = save(tmp_path, checkpoint(2))
    files = sorted(damaged.iterdir())
    generator = np.random.default_rng(0)
    for _ in range(200):
        path = files[generator.integers(len(files))]
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[generator.integers(len(whole))] ^= 1 << int(generator.integers(8))
        path.write_bytes(flipped)
        found, notes = newest(tmp_path)
        assert found is not None
        assert found.round == 1
        assert len(notes) == 1
        assert "round_0002" in notes[0]
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "SHA256SUMS"])
def test_a_truncated_or_missing_file_is_seen(tmp_path: Path, name: str) -> None:
    path = save(tmp_path, checkpoint()) / name
    whole = path.read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert newest(tmp_path)[0] is None
    path.unlink()
    assert newest(tmp_path)[0] is None


def test_a_checkpoint_that_was_not_finished_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, checkpoint(1))
    (tmp_path / ".round_0002.tmp").mkdir()
    found, notes = newest(tmp_path)
    assert found is not None
    assert (found.round, notes) == (1, ())
    save(tmp_path, checkpoint(2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round_0001", "round_0002"]


def test_a_failed_save_keeps_what_was_there(tmp_path: Path) -> None:
    save(tmp_path, checkpoint(1))
    (tmp_path / ".round_0002.tmp").write_text("a file where the folder should be")
    with pytest.raises(RunError, match=r"round_0002.*older checkpoints are kept"):
        save(tmp_path, checkpoint(2))
    found, _ = newest(tmp_path)
    assert found is not None
    assert found.round == 1


def test_the_checksums_can_be_checked_without_fedsim(tmp_path: Path) -> None:
    folder = save(tmp_path, checkpoint())
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=folder, capture_output=True)
    assert done.returncode == 0
