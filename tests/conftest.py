"""What many tests share: small scenarios by name of what they change, and one Ray session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsim.runlog.events import Event, Note, Result, RoundRecord
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load
from fedsim.schema.scenario import Scenario

SMALL: dict[str, Any] = {
    "seed": 7,
    "rounds": 3,
    "data": {"source": "digits", "partition": {"use": "dirichlet", "alpha": 0.5}},
    "model": {"use": "mlp", "hidden": [16]},
    "clients": {"count": 6},
    "local": {"lr": 0.1, "epochs": 1, "batch_size": 32},
    "strategy": {"use": "fedavg"},
    "compute": {"backend": "local"},
}

Make = Callable[..., Scenario]


@pytest.fixture
def scenario(tmp_path: Path) -> Make:
    """Return a maker of small scenarios: name only the sections that your test is about."""

    def make(**sections: Any) -> Scenario:
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump({**SMALL, **sections}))
        return load(path)

    return make


class Outcome:
    """What a finished run left behind."""

    def __init__(self, folder: RunFolder, result: Result, events: list[Event]) -> None:
        self.folder, self.result, self.events = folder, result, events

    @property
    def rounds(self) -> list[RoundRecord]:
        return self.folder.rounds()

    @property
    def notes(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Note)]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scenario], Outcome]:
    """Return a function that runs a scenario to its end, each time in a new folder."""

    def run(of: Scenario) -> Outcome:
        from fedsim.engine.run import run_scenario

        folder = RunFolder.new(tmp_path / "runs", of.name, "0" * 64)
        events: list[Event] = []
        return Outcome(folder, run_scenario(of, folder, events.append), events)

    return run


@pytest.fixture
def run_killed_at() -> Callable[[Scenario, RunFolder, int], None]:
    """Return a function that runs a scenario and kills the run at its n-th event."""
    from fedsim.engine.run import run_scenario

    class Killed(BaseException):
        """Stands for a process that ends without a chance to tidy up."""

    def run(of: Scenario, folder: RunFolder, number: int) -> None:
        heard: list[Event] = []

        def watch(event: Event) -> None:
            heard.append(event)
            if len(heard) == number:
                raise Killed

        with pytest.raises(Killed):
            run_scenario(of, folder, watch)

    return run


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Start Ray once for all tests that need it: starting takes seconds."""
    from fedsim.runtime.ray_session import start

    ray = pytest.importorskip("ray")
    start(address=None, workers=2)
    yield
    ray.shutdown()
