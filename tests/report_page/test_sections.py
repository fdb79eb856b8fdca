"""The smaller sections: who worked when, sizes, traffic, and where data comes from."""

from __future__ import annotations

import json
from pathlib import Path

from fedsim.analysis.citations import origin_of
from fedsim.analysis.collect import collect
from fedsim.report.html import render
from fedsim.report.page import page_of


def with_turns(folder: Path) -> Path:
    columns = ["phase", "client", "worker", "start", "seconds"]
    turns = [["train", 0, 0, 0.0, 0.5], ["train", 1, 1, 0.0, 0.25], ["evaluate", 0, 0, 0.5, 0.5]]
    for run in folder.iterdir():
        said = {"round": 2, "columns": columns, "turns": turns}
        (run / "timeline.json").write_text(json.dumps(said))
    return folder


def test_a_rounds_turns_are_drawn_where_times_are_asked_for(runs) -> None:
    folder = with_turns(runs(fedavg=(0.5, 0.6)))
    assert page_of(collect([folder])).timeline_figures == ()
    (shift,) = page_of(collect([folder], x=("rounds", "seconds"))).timeline_figures
    assert (shift.workers, shift.phases, shift.busy) == (2, ("train", "evaluate"), 0.625)
    assert "Who worked when" in render(page_of(collect([folder], x=("rounds", "seconds"))))


def test_a_damaged_timeline_costs_its_picture_alone(runs) -> None:
    folder = with_turns(runs(fedavg=(0.5, 0.6)))
    for run in folder.iterdir():
        (run / "timeline.json").write_text('{"turns": [[1]]}')
    assert page_of(collect([folder], x=("seconds",))).timeline_figures == ()


def test_accuracy_by_size_goes_from_the_smallest_clients_to_the_largest(
    write_run, tmp_path
) -> None:
    rows = [(size, 0.5 + size / 100) for size in (40, 10, 20, 30, 10, 20, 30, 40, 10)]
    write_run(tmp_path / "one", [0.1, 0.5], rows=rows)
    (drawing,) = page_of(collect([tmp_path / "one"])).sizes
    assert "fedavg: 0.600 to 0.867" in drawing.about


def test_clients_of_one_size_make_no_such_figure(write_run, tmp_path) -> None:
    write_run(tmp_path / "one", [0.1, 0.5], rows=[(4, 0.5)] * 9)
    assert page_of(collect([tmp_path / "one"])).sizes == ()


def test_traffic_is_that_of_a_round(runs) -> None:
    (drawing,) = page_of(collect([runs(fedavg=(0.5, 0.6), scaffold=(0.5, 0.6))])).traffic
    assert drawing.about == ("fedavg: 1000 bytes up, 2000 down; scaffold: 1000 bytes up, 2000 down")


def test_a_source_says_its_licence_and_whom_to_cite() -> None:
    digits = origin_of({"use": "digits"})
    assert digits.licence.startswith("CC BY 4.0")
    assert digits.citations[0].bibtex.startswith("@misc{alpaydin1998optical,")
    hub = origin_of({"use": "hf", "path": "ylecun/mnist"})
    assert hub.name == "hf ylecun/mnist"
    assert hub.licence == "the data set's own, on its card on the hub"
    mine = origin_of({"use": "npz", "path": "/home/me/secret.npz"})
    assert (mine.name, mine.licence, mine.citations) == ("npz secret.npz", "", ())


def test_data_stands_under_what_is_needed_to_reproduce(write_run, tmp_path: Path) -> None:
    data = {"source": {"use": "digits"}, "partition": {"use": "iid"}}
    write_run(tmp_path / "one", [0.1, 0.5], data=data)
    text = render(page_of(collect([tmp_path / "one"])))
    assert "digits: licence CC BY 4.0, as the UCI repository gives them." in text
    assert "@misc{alpaydin1998optical," in text
