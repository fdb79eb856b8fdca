"""What a device keeps outlives its processes, and a turn that is done again begins the same."""

from __future__ import annotations

import torch

from fedsim.edge.memory import FileMemory


def kept(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"variate": {"w.weight": torch.full((2,), value), "b": torch.zeros(())}}


def value_of(memory) -> float:
    return float(memory["variate"]["w.weight"][0]) if memory else 0.0


def test_the_first_turn_begins_with_nothing(tmp_path) -> None:
    assert FileMemory(tmp_path, "run", 2).before(1, 1) == {}


def test_a_turn_begins_with_what_the_last_one_kept_whichever_process_it_was(tmp_path) -> None:
    FileMemory(tmp_path, "run", 2).after(1, 1, kept(1.5))
    found = FileMemory(tmp_path, "run", 2).before(2, 1)
    assert list(found) == ["variate"]
    assert found["variate"]["w.weight"].tolist() == [1.5, 1.5]
    assert found["variate"]["b"].shape == ()


def test_a_turn_that_is_done_again_begins_where_it_began(tmp_path) -> None:
    memory = FileMemory(tmp_path, "run", 2)
    for round in (1, 2, 3):
        for turn in (1, 2):
            memory.after(round, turn, kept(round + turn / 4))
    assert value_of(memory.before(3, 2)) == 3.25
    assert value_of(memory.before(3, 1)) == 2.5
    memory.after(3, 1, kept(7.0))
    assert value_of(memory.before(3, 2)) == 7.0


def test_rounds_that_a_resumed_run_can_ask_for_again_are_kept_and_no_more(tmp_path) -> None:
    memory = FileMemory(tmp_path, "run", 2)
    for round in range(1, 8):
        memory.after(round, 1, kept(round))
    assert [value_of(memory.before(round, 1)) for round in (8, 7, 6)] == [7, 6, 5]
    assert memory.before(5, 1) == {}


def test_another_run_begins_afresh(tmp_path) -> None:
    FileMemory(tmp_path, "one", 2).after(1, 1, kept(1))
    assert FileMemory(tmp_path, "two", 2).before(2, 1) == {}


def test_the_oldest_runs_are_forgotten(tmp_path) -> None:
    for number in range(12):
        FileMemory(tmp_path, f"run-{number}", 2).after(1, 1, kept(number))
    assert len(list(tmp_path.iterdir())) == 8
    assert (tmp_path / "run-11").is_dir()


def test_who_keeps_nothing_writes_nothing(tmp_path) -> None:
    FileMemory(tmp_path, "run", 2).after(1, 1, {})
    assert list(tmp_path.iterdir()) == []
