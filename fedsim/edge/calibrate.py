"""``fedsim edge calibrate``: how fast each device trains and talks, and how often it is absent.

The measurement runs on Flower's server like any run, and writes a file that a person can read.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import torch

from fedsim.data.federated import FederatedData
from fedsim.engine import setup
from fedsim.engine.transport import Transport
from fedsim.flower.client_app import DESCRIBE
from fedsim.flower.devices import Devices
from fedsim.flower.exchange import Replies
from fedsim.flower.parts import strategy_of
from fedsim.models._scenario_model import scenario_model
from fedsim.models._state import weights_of
from fedsim.runlog.run_folder import RunFolder
from fedsim.schema.scenario import Scenario
from fedsim.tasks._from_scenario import task_of
from fedsim.wire import Broadcast, ClientId

__all__ = ["RESULT", "measure", "text_of"]

RESULT = "edge/calibration.json"
"""In the folder of the run that measures."""

_PINGS = 5
_LOAD_BYTES = 4_000_000
"""What is sent there and back to measure the line."""


@dataclass
class _Timing:
    """What was seen of one device."""

    requests: int = 0
    answered: int = 0
    turns: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    load_s: float | None = None
    examples: int = 0


def measure(scenario: Scenario, folder: RunFolder, devices: Devices) -> None:
    """Ask every device to say who it is, to echo a load, and to take two turns; write what it took.

    Raises:
        DataError: if the scenario's data cannot be prepared.
    """
    data = setup.opened(scenario, folder, ())
    carrier = Transport(devices, strategy_of(scenario))
    timings = {info.id: _Timing() for info in data.clients}
    nothing = Broadcast({})
    for _ in range(_PINGS):
        for turn in _asked(carrier, DESCRIBE, nothing, data, timings).turns:
            if not turn.fault:
                timing = timings[turn.client]
                timing.examples = turn.examples
                timing.pauses.append(max(0.0, devices.took[turn.client] - turn.seconds))
    load = replace(nothing, extras={"load": {"x": torch.zeros(_LOAD_BYTES // 4)}})
    for turn in _asked(carrier, DESCRIBE, load, data, timings).turns:
        if not turn.fault:
            timings[turn.client].load_s = devices.took[turn.client] - turn.seconds
    outputs = task_of(scenario, data.targets).outputs
    model = scenario_model(scenario, data.shape, outputs)
    for _ in range(2):  # the first one warms up
        for turn in _asked(carrier, "train", Broadcast(weights_of(model)), data, timings).turns:
            if not turn.fault:
                timings[turn.client].turns.append(turn.seconds)
    epochs = float(scenario.local.parameters.get("epochs", 1))
    names = devices.names
    devices_measured = [_told(names[client], timing, epochs) for client, timing in timings.items()]
    folder.write(RESULT, {"devices": devices_measured})


def _asked(
    carrier: Transport,
    phase: str,
    broadcast: Broadcast,
    data: FederatedData,
    timings: dict[ClientId, _Timing],
) -> Replies:
    gathered = carrier.exchange(0, phase, [(info, broadcast) for info in data.clients])
    for turn in gathered.turns:
        timings[turn.client].requests += 1
        timings[turn.client].answered += not turn.fault
    return gathered


def _told(name: str, timing: _Timing, epochs: float) -> dict[str, Any]:
    pause = statistics.median(timing.pauses) if timing.pauses else None
    speed = None
    if timing.load_s is not None and pause is not None and timing.load_s > pause:
        speed = 2 * 8 * _LOAD_BYTES / 1e6 / (timing.load_s - pause)
    return {
        "name": name,
        "examples": timing.examples,
        "seconds_per_epoch": _rounded(timing.turns[-1] / epochs if timing.turns else None),
        "seconds_per_message": _rounded(pause),
        "mbit_per_s": _rounded(speed),
        "dropout": _rounded(1 - timing.answered / timing.requests if timing.requests else None),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def text_of(measured: dict[str, Any], federation: str, scenario: str) -> str:
    """Return the file: YAML, with what each number means."""
    import yaml

    head = (
        "# How fast the devices of a federation were, as `fedsim edge calibrate` measured it.\n"
        "# seconds_per_message: overhead of a message besides training and transfer.\n"
        "# mbit_per_s: there and back together.  dropout: share of messages without a reply.\n"
    )
    body = {
        "schema": "fedsim-devices/1",
        "federation": federation,
        "scenario": scenario,
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
        **measured,
    }
    return head + yaml.safe_dump(body, sort_keys=False)
