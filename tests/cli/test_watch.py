"""A run is seen as a live bar, as plain lines, or as JSON lines, and ends with an answer."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from fedsim.cli.formatting import comparison, duration, size, spark, verdict
from fedsim.cli.progress import watching
from fedsim.cli.screen import Screen
from fedsim.runlog.events import (
    Data,
    Dropped,
    Event,
    Finished,
    Note,
    ReferenceDone,
    Result,
    RoundDone,
    RoundRecord,
    Started,
)
from fedsim.runlog.metric_info import CLASSIFICATION, MetricInfo

RESULT = Result(
    "fedavg",
    2,
    {"accuracy": 0.912, "loss": 0.284},
    "ab",
    {"centralized": {"accuracy": 0.968}, "local": {"accuracy": 0.731}},
    2_000_000,
    2_100_000,
    75.0,
    {"accuracy": {"round": 2, "bytes": 4_100_000}, "loss": {"round": None, "bytes": None}},
    1,
    "cd",
)


def record(number: int, accuracy: float | None) -> RoundRecord:
    dropped = (Dropped(7, "train", "NaN in head.weight"),) if number == 1 else ()
    metrics = {} if accuracy is None else {"accuracy": accuracy, "loss": 0.284}
    return RoundRecord(
        number, metrics, tuple(range(10)), dropped, {}, {}, 2_000_000, 2_100_000, 1.2
    )


EVENTS: Sequence[Event] = (
    Data("digits", 1437, 360, (98, 140, 210), (2, 7), 0.41),
    Started("quickstart", "fedavg", 10, 2, "local", 1, Path("runs/quickstart/x"), CLASSIFICATION),
    RoundDone(record(1, None)),
    Note("worker 1 died and was replaced"),
    RoundDone(record(2, 0.912)),
    ReferenceDone("centralized", {"accuracy": 0.968}, "20 epochs"),
    Finished(RESULT, CLASSIFICATION),
)


def seen(**how: bool) -> tuple[str, str]:
    """Return what a run prints to stdout and to stderr."""
    out, err = io.StringIO(), io.StringIO()
    terminal = how.pop("terminal", False)
    screen = Screen(
        Console(file=out, force_terminal=terminal, width=80, highlight=False),
        Console(file=err, width=80),
        **how,
    )
    with watching(screen) as watch:
        for event in EVENTS:
            watch(event)
    return out.getvalue(), err.getvalue()


def test_plain_lines_say_each_round_and_the_answer() -> None:
    out, err = seen()
    assert out.splitlines() == [
        "data    digits · 1437 training examples, 360 for the test",
        "clients 98-210 examples each (median 140) · 2-7 labels · label skew 0.41",
        "run     quickstart · fedavg · 10 clients · 2 rounds · local, 1 worker",
        "round 1/2  accuracy -  loss -  cohort 10  dropped 1  4.1 MB  1.2 s",
        "round 2/2  accuracy 0.912  loss 0.284  cohort 10  dropped 0  4.1 MB  1.2 s",
        "compare centralized 0.968  (20 epochs)",
        "result  accuracy 0.912 · loss 0.284 · 2.0 MB up, 2.1 MB down · 1:15 min",
        "dropped 1 reply; details: fedsim show",
        "target  accuracy reached in round 2, 4.1 MB sent",
        "target  loss not reached",
        "compare centralized 0.968 · local only 0.731 · federated 0.912",
        "        Federated learning helps here: 18.1 points above local-only training, "
        "5.6 points below centralized.",
    ]
    assert err == "note    worker 1 died and was replaced\n"


def test_quiet_says_only_the_result() -> None:
    out, err = seen(quiet=True)
    assert out.startswith("result  accuracy 0.912")
    assert err == ""


def test_verbose_names_the_dropped_clients() -> None:
    _, err = seen(verbose=True)
    assert "dropped round 1 client 7 train: NaN in head.weight\n" in err


def test_json_lines_hold_the_fields_of_the_files() -> None:
    out, err = seen(json=True)
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines] == [
        "data",
        "started",
        "round",
        "note",
        "round",
        "reference",
        "finished",
    ]
    assert lines[2]["dropped"] == [{"client": 7, "phase": "train", "reason": "NaN in head.weight"}]
    assert lines[-1]["references"] == RESULT.references
    assert err == ""


def test_a_terminal_shows_a_bar_and_the_result_below_it() -> None:
    out, _ = seen(terminal=True)
    assert "2/2" in out
    assert "accuracy 0.912  loss 0.284  cohort 10  8.2 MB  2.4 s\n" in out
    assert "round 1/2" not in out
    assert out.rstrip().endswith("5.6 points below centralized.")


@pytest.mark.parametrize(
    ("federated", "references", "sentence"),
    [
        (0.9, {"local": 0.8}, "helps here: 10.0 points above local-only training."),
        (0.805, {"local": 0.8}, "makes little difference here: about equal to local-only"),
        (0.7, {"local": 0.8}, "does not help here: 10.0 points below local-only training."),
        (0.9, {"centralized": 0.95}, "comes out 5.0 points below centralized training."),
        (0.95, {"centralized": 0.95, "local": 0.8}, "training, about equal to centralized."),
    ],
)
def test_the_verdict_is_one_plain_sentence(
    federated: float, references: dict[str, float], sentence: str
) -> None:
    assert sentence in verdict(federated, references, CLASSIFICATION[0])


def test_where_lower_is_better_a_lower_error_helps() -> None:
    rmse = MetricInfo("rmse", "RMSE", "lower", "mg/dl")
    sentence = "helps here: RMSE 5 mg/dl below local-only training."
    assert sentence in verdict(50.0, {"local": 55.0}, rmse)
    assert "does not help here" in verdict(55.0, {"local": 50.0}, rmse)
    assert "little difference" in verdict(50.1, {"local": 50.0}, rmse)


def test_without_references_there_is_no_verdict() -> None:
    assert verdict(0.9, {}, CLASSIFICATION[0]) == ""
    assert comparison(0.9, {}) == "federated 0.900"


def test_numbers_are_short() -> None:
    assert [size(count) for count in (0, 999, 1000, 4_100_000, 2e9, 3e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "4.1 MB",
        "2.0 GB",
        "3.0 TB",
    ]
    assert [duration(seconds) for seconds in (0.04, 59.94, 59.99, 60, 3599.9, 7260)] == [
        "0.0 s",
        "59.9 s",
        "1:00 min",
        "1:00 min",
        "1:00 h",
        "2:01 h",
    ]


def test_a_long_curve_keeps_its_width_and_its_end() -> None:
    assert spark([]) == ""
    assert spark([0.5, 0.5]) == "▁▁"
    assert len(spark([number / 1000 for number in range(1000)])) == 60
    assert spark([0.0] * 999 + [1.0]).endswith("█")
