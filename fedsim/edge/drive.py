"""A run on a federation's devices, from the operator's side: submit it, follow it, take it up.

Flower's server runs the server's part, which writes the run's folder as any run does.  This one
reads along.  Where Flower's server is restarted, its part dies with it: it is submitted again and
goes on from its checkpoint.  How it ended is known from what it wrote, not from an exit code.
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedsim.edge.attempt import APP, FEED, RUN
from fedsim.edge.calibrate import RESULT
from fedsim.edge.commands import is_temporary
from fedsim.edge.device_data import data_terms
from fedsim.edge.federation import Federation, flwr
from fedsim.edge.feed import Ended, Feed
from fedsim.edge.flower_app import Shipped, write_app
from fedsim.engine import setup
from fedsim.engine.run import interruptible
from fedsim.errors import BudgetSpent, Fault, FedsimError, RunError, ScenarioError
from fedsim.flower.parts import client_of, strategy_of
from fedsim.privacy.privacy_spec import settle_privacy
from fedsim.runlog import lock
from fedsim.runlog.events import Finished, Note, Result, Watch
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load
from fedsim.schema.scenario import Scenario

__all__ = ["begin", "calibrate", "go_on"]

_LOOK_S = 0.2
_ASK_S = 5.0
"""Between two questions to Flower's server; each takes a second or two of a processor."""
_START_S = 300.0
"""How long Flower's server may take to start the server's part."""
_AWAY_S = 600.0
"""How long Flower's server may be away."""
_FRUITLESS = 3
"""So many attempts in a row without a finished round are enough."""


def begin(scenario: Scenario, folder: RunFolder, federation: Federation, watch: Watch) -> Result:
    """Run ``scenario`` on the devices of ``federation``, from its first round.

    Raises:
        FedsimError: of any kind; what was finished is kept, and can be resumed.
    """
    _driven(_begun(scenario, folder, federation, watch), folder, watch)
    return _finished(folder, watch)


def go_on(folder: RunFolder, watch: Watch) -> Result:
    """Go on with a run on devices, on the same federation.

    Raises:
        FedsimError: as :func:`begin`.
    """
    if (result := folder.result()) is not None:
        return result
    _driven(load(folder.scenario), folder, watch)
    return _finished(folder, watch)


def calibrate(scenario: Scenario, federation: Federation) -> dict[str, Any]:
    """Measure the federation's devices with the scenario's data, model and client.

    Raises:
        FedsimError: if it cannot be done; nothing is left behind.
    """
    with tempfile.TemporaryDirectory(prefix="fedsim-") as place:
        folder = RunFolder.create(Path(place) / "calibration")
        scenario = _begun(scenario, folder, federation, lambda event: None, measures=True)
        _driven(scenario, folder, lambda event: None)
        measured: dict[str, Any] = folder.read_json(RESULT)
        return measured


def _begun(
    scenario: Scenario,
    folder: RunFolder,
    federation: Federation,
    watch: Watch,
    measures: bool = False,
) -> Scenario:
    """Write down which run it is and on whose devices; return the scenario that fits them."""
    (folder.path / RUN).parent.mkdir(exist_ok=True)
    attempt = {"run": secrets.token_hex(8), "federation": federation.path, "measures": measures}
    folder.write(RUN, attempt)
    return _fitted(scenario, federation, watch)


def _fitted(scenario: Scenario, federation: Federation, watch: Watch) -> Scenario:
    """Return the scenario with as many clients as there are devices."""
    many = len(federation.nodes)
    if scenario.clients.count in (None, many):
        return scenario
    watch(Note(f"clients.count is {many} here: one client for each device of {federation.name}"))
    clients = scenario.clients.model_copy(update={"count": many})
    return scenario.model_copy(update={"clients": clients})


def _driven(scenario: Scenario, folder: RunFolder, watch: Watch) -> None:
    attempt = folder.read_json(RUN)
    drive = _Drive(folder, Federation.load(attempt["federation"]), watch)
    with interruptible(folder):
        with folder.lock():
            data = setup.opened(scenario, folder, sys.argv[1:])
            if len(data.clients) != len(drive.federation.nodes):
                what = f"{len(data.clients)}, but there are {len(drive.federation.nodes)} devices"
                raise ScenarioError([Fault(scenario.name, 0, 0, "clients.count", what)])
            settled_scenario, _ = settle_privacy(scenario, data.clients)
            client_of(
                settled_scenario, strategy_of(settled_scenario)
            )  # refused, if at all, before devices are asked
            shipped = Shipped(attempt["run"], settled_scenario, data_terms(scenario, data))
            write_app(folder.path / APP, shipped)
        try:
            drive.until_done()
        except KeyboardInterrupt:
            drive.stop()
            raise


def _finished(folder: RunFolder, watch: Watch) -> Result:
    result = folder.result()
    if result is None:
        raise RunError("the server's part ended without a result")
    watch(Finished(result, folder.metrics()))
    if result.stopped:
        raise BudgetSpent(result.stopped)
    return result


@dataclass
class _Drive:
    """One run's way through Flower's server."""

    folder: RunFolder
    federation: Federation
    watch: Watch
    flower_run: str = field(default="", init=False)
    """How Flower calls the present attempt."""

    def until_done(self) -> None:
        """Submit the run, again where Flower's server lost it, until it has ended.

        Raises:
            FedsimError: as the server's part raised it.
        """
        fruitless = 0
        while True:
            done = len(self.folder.rounds())
            why = self._attempt()
            if why is None:
                return
            fruitless = 0 if len(self.folder.rounds()) > done else fruitless + 1
            if fruitless >= _FRUITLESS:
                raise RunError(f"{fruitless} attempts without a finished round: {why}")
            note = Note(f"{why}; going on from the last checkpoint")
            self.folder.log(note.text)
            self.watch(note)

    def stop(self) -> None:
        """Stop the run after its round, or at once by Flower's server; wait for the folder."""
        Feed(self.folder.path / FEED).ask_to_stop()
        with suppress(FedsimError):
            if self.flower_run:
                name = self.federation.connection().name
                flwr(self.federation, "stop", self.flower_run, name)
        until = time.monotonic() + 30
        while lock.is_held(self.folder.path) and time.monotonic() < until:
            time.sleep(_LOOK_S)

    def _attempt(self) -> str | None:
        """Submit the run once; return None when it has ended well, else how it was lost."""
        feed = Feed(self.folder.path / FEED)
        feed.clear()
        self._submit()
        try:
            why: str | None = self._follow(feed)
        except Ended as end:
            if end.error is not None and end.is_final:
                self._settle()
                raise end.error from None
            why = str(end.error) if end.error else None
        self._settle()
        return why

    def _submit(self) -> None:
        where = {"folder": self.folder.path.resolve(), "federation": self.federation.path}
        config = " ".join(f"{key}={json.dumps(str(path))}" for key, path in where.items())
        name = self.federation.connection().name
        is_first = not self.flower_run
        until = time.monotonic() + (0 if is_first else _AWAY_S)
        app = str((self.folder.path / APP).resolve())
        while True:
            try:
                answer = flwr(self.federation, "run", app, name, "--run-config", config)
                break
            except FedsimError as error:
                if time.monotonic() > until or not is_temporary(error):
                    raise RunError(f"Flower's server rejects the run: {error}") from error
                time.sleep(_ASK_S)
        self.flower_run = str(answer["run-id"])

    def _follow(self, feed: Feed) -> str:
        """Pass events on until there are no more; return why, where no last one was written."""
        began = asked_at = time.monotonic()
        was_held = False
        while True:
            for event in feed.events():
                self.watch(event)
            is_held = lock.is_held(self.folder.path)
            if was_held and not is_held:
                for event in feed.events():  # what came between the two looks
                    self.watch(event)
                return "Flower's server lost the run"
            was_held = is_held
            now = time.monotonic()
            if not is_held and now - asked_at > _ASK_S:
                asked_at = now
                if (status := self._status()).startswith("finished"):
                    list(map(self.watch, feed.events()))
                    return f"Flower's server says: {status}"
            if not is_held and now - began > _START_S:
                return f"Flower's server did not start the run in {_START_S:.0f} s"
            time.sleep(_LOOK_S)

    def _status(self) -> str:
        with suppress(FedsimError, LookupError, TypeError):
            name = self.federation.connection().name
            runs = flwr(self.federation, "list", name, "--run-id", self.flower_run)["runs"]
            return f"{runs[0]['status']} {runs[0].get('status-details', '')}".strip()
        return "unknown"

    def _settle(self) -> None:
        """Wait for an attempt's process to let go of the folder: the next one needs it."""
        until = time.monotonic() + 30
        while lock.is_held(self.folder.path) and time.monotonic() < until:
            time.sleep(_LOOK_S)
