"""Events cross from the server's part to who started it, whole and in order."""

from __future__ import annotations

import pytest

from fedsim.edge.feed import Ended, Feed
from fedsim.errors import Interrupted, QuorumLost, RunError
from fedsim.runlog.events import Data, Dropped, Note, RoundDone, RoundRecord, Started
from fedsim.runlog.metric_info import CLASSIFICATION

RECORD = RoundRecord(
    round=2,
    metrics={"accuracy": 1 / 3, "loss": 0.5},
    cohort=(0, 2),
    dropped=(Dropped(2, "train", "c: the device is offline"),),
    train={"loss": 0.1},
    clients={},
    bytes_up=1,
    bytes_down=2,
    seconds=0.5,
)


@pytest.fixture
def feed(tmp_path) -> Feed:
    return Feed(tmp_path / "feed.jsonl")


def test_events_come_as_they_went(feed, tmp_path) -> None:
    sent = [
        Data("digits", 3, 1, (1, 1, 1), (1, 2), 0.5),
        Started("a", "fedavg", 3, 2, "flower", 3, tmp_path, CLASSIFICATION, 2),
        Note("a device came back"),
        RoundDone(RECORD),
    ]
    for event in sent:
        feed.write(event)
    assert list(feed.events()) == sent


def test_each_event_comes_once_and_a_torn_line_later(feed, tmp_path) -> None:
    feed.write(Note("one"))
    assert list(feed.events()) == [Note("one")]
    path = tmp_path / "feed.jsonl"
    with path.open("a") as file:
        file.write('{"kind": "Note", ')
    assert list(feed.events()) == []
    with path.open("a") as file:
        file.write('"text": "two"}\n')
    assert list(feed.events()) == [Note("two")]


def test_a_good_end_has_no_error(feed) -> None:
    feed.end(None)
    with pytest.raises(Ended) as end:
        list(feed.events())
    assert end.value.error is None


def test_an_error_of_fedsims_comes_as_its_own_kind_and_is_final(feed) -> None:
    feed.end(QuorumLost("round 2: 1 of 3 clients replied"))
    with pytest.raises(Ended) as end:
        list(feed.events())
    assert type(end.value.error) is QuorumLost
    assert end.value.is_final


def test_any_other_error_is_taken_for_a_lost_connection(feed) -> None:
    feed.end(ConnectionError("the server went away"))
    with pytest.raises(Ended) as end:
        list(feed.events())
    assert type(end.value.error) is RunError
    assert not end.value.is_final
    assert "ConnectionError: the server went away" in str(end.value.error)


def test_an_attempt_begins_with_an_empty_feed(feed) -> None:
    feed.end(None)
    feed.clear()
    assert list(feed.events()) == []


def test_who_is_asked_to_stop_writes_one_more_event(feed) -> None:
    feed.write(Note("one"))
    feed.ask_to_stop()
    with pytest.raises(Interrupted):
        feed.write(Note("two"))
    assert list(feed.events()) == [Note("one"), Note("two")]
    feed.clear()
    feed.write(Note("three"))
