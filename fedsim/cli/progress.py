"""The live output of a run: a bar, plain lines, or JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from fedsim.cli.formatting import (
    comparison,
    dropped,
    duration,
    named_values,
    number,
    part_name,
    reference_name,
    round_line,
    size,
    verdict,
)
from fedsim.cli.screen import Screen
from fedsim.data.naming import columns_text, names_text
from fedsim.runlog.events import (
    Data,
    Event,
    Finished,
    Note,
    ReferenceDone,
    Result,
    RoundDone,
    RoundRecord,
    Started,
    Watch,
)
from fedsim.runlog.files import plain
from fedsim.runlog.metric_info import CLASSIFICATION, MetricInfo

__all__ = ["result_lines", "watching"]


@contextmanager
def watching(screen: Screen) -> Iterator[Watch]:
    """Give what shows a run's events as ``screen`` asks for."""
    if screen.json:
        yield lambda event: screen.out.out(_json(event), highlight=False)
    elif screen.out.is_terminal and not screen.quiet:
        columns = [
            TextColumn(text, table_column=Column(no_wrap=True))
            for text in ("round {task.completed:>3.0f}/{task.total:.0f}", "{task.description}")
        ]
        with Progress(columns[0], BarColumn(12), columns[1], console=screen.out) as bar:
            yield _Lines(screen, bar)
    else:
        yield _Lines(screen)


def _json(event: Event) -> str:
    """Return the event as one line, with the fields of the run folder's files."""
    names = {RoundDone: "round", ReferenceDone: "reference"}
    name = names.get(type(event), type(event).__name__.lower())
    inner: Any = event
    if isinstance(event, RoundDone):
        inner = event.record
    elif isinstance(event, Finished):
        inner = event.result
    fields: Any = plain(inner)
    return json.dumps({"event": name, **fields})


class _Lines:
    """One line for each thing that happens; the rounds move a bar where there is one."""

    def __init__(self, screen: Screen, bar: Progress | None = None) -> None:
        self._screen = screen
        self._bar = bar
        self._rounds = 0
        self._sent = 0
        self._seconds: list[float] = []
        self._metrics: tuple[MetricInfo, ...] = CLASSIFICATION
        self._latest: Mapping[str, float] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self._start(event)
            case Data() if not self._screen.quiet:
                for line in _data_lines(event):
                    self._screen.say(line)
            case Note():
                self._screen.note(f"note    {event.text}", "yellow")
            case RoundDone():
                self._round(event.record)
            case ReferenceDone() if not self._screen.quiet:
                value = event.metrics.get(self._metrics[0].name)
                line = f"compare {reference_name(event.name)} {number(value)}"
                self._screen.say(f"{line}  ({event.detail})" if event.detail else line)
            case Finished():
                if self._bar is not None:
                    self._bar.stop()  # it stays, and the result stands below it
                for line in result_lines(event.result, event.metrics):
                    self._screen.say(line)
            case _:
                pass

    def _start(self, event: Started) -> None:
        self._rounds, self._metrics = event.rounds, event.metrics
        if self._bar is not None:
            self._bar.add_task("", total=event.rounds, completed=event.first_round - 1)
        if not self._screen.quiet:
            again = f" · from round {event.first_round}" if event.first_round > 1 else ""
            self._screen.say(
                f"run     {event.scenario_name} · {part_name(event.strategy)} · "
                f"{event.clients} clients · {event.rounds} rounds · {event.backend}, "
                f"{event.workers} worker{'s' if event.workers != 1 else ''}{again}"
            )

    def _round(self, record: RoundRecord) -> None:
        self._sent += record.bytes_up + record.bytes_down
        self._seconds.append(record.seconds)
        self._latest = record.metrics or self._latest
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0],
                completed=record.round,
                description=self._progress(record),
            )
        elif not self._screen.quiet:
            self._screen.say(round_line(record, self._rounds, self._metrics))
        if self._screen.verbose:
            for line in dropped(record):
                self._screen.note(f"dropped {line}", "yellow")

    def _progress(self, record: RoundRecord) -> str:
        elapsed = sum(self._seconds)
        remaining = (self._rounds - record.round) * elapsed / len(self._seconds)
        return (
            f"{named_values(self._latest, self._metrics, '  ')}  "
            f"cohort {len(record.cohort)}  {size(self._sent)}  "
            f"{f'{duration(remaining)} left' if remaining else duration(elapsed)}"
        )


def _data_lines(data: Data) -> list[str]:
    low, middle, high = data.client_sizes
    fewest, most = data.labels_per_client
    kind = "target" if data.targets else "label"
    named = [
        ("columns", columns_text(data.columns) if data.columns else ""),
        ("classes", names_text(data.classes) if data.classes else ""),
        ("targets", names_text(data.targets) if data.targets else ""),
    ]
    return [
        f"data    {part_name(data.source)} · {data.examples} training examples, "
        f"{data.server_test} for the test",
        f"clients {low}-{high} examples each (median {middle}) · {fewest}-{most} labels · "
        f"{kind} skew {data.label_skew:.2f}",
        *(f"{name} {text}" for name, text in named if text),
    ]


def _best_lines(result: Result, primary: MetricInfo) -> list[str]:
    """Return which round is best on the clients' validation parts, where its weights are kept."""
    if not result.best:
        return []
    on_test = result.best["metrics"].get(primary.name)
    return [
        f"best    round {result.best['round']} by the clients' validation parts "
        f"({primary.title} {number(result.best['validation'])}): "
        f"{primary.title} {number(on_test)} on the test set · best.safetensors"
    ]


def _baseline_lines(result: Result, primary: MetricInfo) -> list[str]:
    """Return what predicts without looking at the inputs, and whether the model beats it."""
    if primary.name not in result.baseline or primary.name not in result.metrics:
        return []
    value, own = result.baseline[primary.name], result.metrics[primary.name]
    line = f"baseline {number(value)}  (the same answer for every example)"
    beaten = primary.is_better(own, value) or math.isnan(value)
    return [line] if beaten else [f"{line}: the model is no better"]


def result_lines(result: Result, infos: Sequence[MetricInfo]) -> list[str]:
    """Return a result as the lines that a reader wants to see of it."""
    lines = [
        f"result  {named_values(result.metrics, infos)} · "
        f"{size(result.bytes_up)} up, {size(result.bytes_down)} down · {duration(result.seconds)}"
    ]
    if result.dropped:
        replies = "reply" if result.dropped == 1 else "replies"
        lines.append(f"dropped {result.dropped} {replies}; details: fedsim show")
    for metric, reached in result.targets.items():
        when, cost = reached.get("round"), reached.get("bytes")
        outcome = (
            "not reached" if when is None else f"reached in round {when}, {size(cost or 0)} sent"
        )
        lines.append(f"target  {metric} {outcome}")
    others = [info for info in infos[1:] if info.name != "loss"]
    if others:
        values = (f"{info.title} {number(result.metrics.get(info.name))}" for info in others)
        lines.insert(1, f"        {' · '.join(values)}")
    lines += _best_lines(result, infos[0])
    lines += _baseline_lines(result, infos[0])
    if result.references:
        primary = infos[0].name
        federated = result.metrics.get(primary, math.nan)
        references = {
            name: metrics[primary]
            for name, metrics in result.references.items()
            if primary in metrics
        }
        lines.append(f"compare {comparison(federated, references)}")
        lines.append(f"        {verdict(federated, references, infos[0])}")
    return lines
