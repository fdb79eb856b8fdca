"""Devices asked over a grid that is not ours: by their nodes, signed, until the deadline, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fedsim.data.federated import FederatedData, prepare
from fedsim.edge.device_data import data_terms, open_data
from fedsim.edge.memory import FileMemory
from fedsim.engine.run import serve_scenario
from fedsim.flower import flwr_internals as private
from fedsim.flower import proof
from fedsim.flower.device import make_device_app
from fedsim.flower.devices import Devices, Member, Members
from fedsim.flower.parts import client_of, strategy_of
from fedsim.runlog.events import Event, Note
from fedsim.runlog.run_folder import RunFolder
from fedsim.schema.scenario import Scenario
from fedsim.worker.worker import Worker

KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(6)]
NAUGHTY = f"{Path(__file__).parents[1] / 'naughty.py'}:Naughty"
NODES = [907, 14, 555, 3, 88, 610]
"""Of clients 0 to 5: not in the order of their numbers."""

Change = Callable[[Message, "Loopback"], Message | None]


class OnePlace:
    """A device that is this process: its files are under the test's folder."""

    def __init__(self, of: Scenario, folder: Any) -> None:
        self._of, self._folder = of, folder

    def worker(self, config: Any) -> Worker:
        data = FederatedData.open(self._folder / "data")
        return Worker(self._of, data, client_of(self._of, strategy_of(self._of)))

    def memories(self, config: Any) -> FileMemory:
        return FileMemory(self._folder / "memory" / str(config["partition-id"]), "run", 2)

    def key(self, config: Any) -> proof.PrivateKey:
        return KEYS[int(config["partition-id"])]


class Loopback(Grid):
    """A grid whose nodes are in this process; what they answer may be changed on its way."""

    def __init__(self, app: Callable[[], ClientApp], change: Change | None = None) -> None:
        self.app, self.change = app, change
        self.replies: dict[str, Message] = {}
        self.history: list[Message] = []
        self.sent = 0
        self.joined = ""
        """When the nodes say that they joined; empty where they do not say."""
        self.away: set[int] = set()
        private.identify(1)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        names = []
        for message in messages:
            self.sent += 1
            names.append(f"message-{self.sent}")
            private.set_message_id(message, names[-1])
            reply = self.answered(message)
            changed = self.change(reply, self) if self.change else reply
            self.history.append(reply)
            if changed is not None:
                self.replies[names[-1]] = changed
        return names

    def answered(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        config: Any = {"partition-id": NODES.index(node)}
        return self.app()(message, Context(1, node, config, RecordDict(), {}))

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return [self.replies.pop(name) for name in message_ids if name in self.replies]

    def get_node_ids(self) -> Iterable[int]:
        return sorted(NODES)

    def get_nodes(self) -> Iterable[Any]:
        there = [node for node in NODES if node not in self.away]
        return [SimpleNamespace(node_id=node, last_activated_at=self.joined) for node in there]

    def set_run(self, run: private.Run) -> None: ...

    @property
    def run(self) -> private.Run:
        return private.empty_run(1)

    def create_message(self, *args: Any, **named: Any) -> Message:
        raise NotImplementedError

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
        raise NotImplementedError


def members(**changed: Any) -> Members:
    each = {
        client: Member(f"device-{client}", node, KEYS[client].public_key())
        for client, node in enumerate(NODES)
    }
    brief = {"deadline_s": 0.3, "poll_s": 0.01, "look_s": 0.01, "patience_s": 0.1}
    return Members("run", each, **brief | changed)


@pytest.fixture
def serve(tmp_path):
    """Return a function that runs a scenario on a loopback of devices."""

    def run(of: Scenario, change: Change | None = None, folder=None, who: Members | None = None):
        prepare(of, tmp_path / "data")
        grid = Loopback(lambda: make_device_app(of, OnePlace(of, tmp_path)), change)
        folder = folder or RunFolder.create(tmp_path / "served")
        serve_scenario(of, folder, lambda event: None, Devices(grid, who or members()))
        return folder, grid

    return run


@pytest.mark.parametrize("name", ["fedavg", "scaffold"])
def test_devices_give_what_a_simulation_gives(name, scenario, play, serve) -> None:
    of = scenario(strategy=name)
    folder, _ = serve(of)
    ours, theirs = play(of).result, folder.result()
    assert theirs.weights_sha256 == ours.weights_sha256
    assert theirs.metrics_sha256 == ours.metrics_sha256
    assert theirs.dropped == 0


def test_a_strategy_that_asks_one_thing_twice_a_round_keeps_its_memory(
    scenario, play, serve
) -> None:
    of = scenario(
        rounds=2,
        data={
            "source": {"use": "digits_domains", "domains": ["plain", "contrast", "blurred"]},
            "partition": {"use": "domains", "clients_per_domain": 2, "targets": ["blurred"]},
        },
        local={"lr": 0.05, "steps": 2, "batch_size": 16, "momentum": 0.5},
        strategy="iwdan",
    )
    folder, _ = serve(of)
    assert folder.result().metrics_sha256 == play(of).result.metrics_sha256


class OwnPlace(OnePlace):
    """A device with a file of examples of its own: ten more than the client before it."""

    def worker(self, config: Any) -> Worker:
        client = int(config["partition-id"])
        rows = 20 + 10 * client
        generator = np.random.default_rng(client)
        path = self._folder / f"{client}.npz"
        if not path.exists():
            images = generator.uniform(0, 16, (rows, 1, 8, 8)).astype(np.float32)
            np.savez(path, inputs=images, labels=np.arange(rows) % 10)
        terms = data_terms(self._of, FederatedData.open(self._folder / "data"))
        data = open_data(str(path), self._of, terms, client, self._folder / f"own-{client}")
        return Worker(self._of, data, client_of(self._of, strategy_of(self._of)))


def test_devices_with_examples_of_their_own_tell_how_many_and_train_on_them(
    scenario, tmp_path
) -> None:
    of = scenario(rounds=2)
    prepare(of, tmp_path / "data")
    grid = Loopback(lambda: make_device_app(of, OwnPlace(of, tmp_path)))
    folder = RunFolder.create(tmp_path / "served")
    heard: list[Event] = []
    serve_scenario(of, folder, heard.append, Devices(grid, members()))
    assert Note("6 devices hold 20 to 70 examples of their own, 270 in all") in heard
    result = folder.result()
    assert result is not None
    assert result.dropped == 0
    known = folder.read_json("devices.json")
    assert [known[str(client)]["examples"] for client in range(6)] == [20, 30, 40, 50, 60, 70]


def at_round(number: int, client: int, change: Change) -> Change:
    def changed(reply: Message, grid: Loopback) -> Message | None:
        known = proof.PROOF in (reply.content if reply.has_content() else {})
        told = reply.content.config_records[proof.PROOF] if known else {}
        if told.get("round") == number and told.get("client") == client:
            return change(reply, grid)
        return reply

    return changed


def dropped(folder: RunFolder) -> dict[int, str]:
    return {drop.client: drop.reason for record in folder.rounds() for drop in record.dropped}


def test_a_device_that_does_not_answer_is_named_and_the_round_goes_on(scenario, serve) -> None:
    folder, _ = serve(scenario(), at_round(2, 4, lambda reply, grid: None))
    assert dropped(folder) == {4: "device-4: no reply within 0.3 s"}
    assert [len(record.dropped) for record in folder.rounds()] == [0, 1, 0]


def test_a_reply_that_comes_a_round_late_is_not_counted(scenario, serve) -> None:
    late: list[Message] = []

    def hold(reply: Message, grid: Loopback) -> None:
        late.append(reply)

    def change(reply: Message, grid: Loopback) -> Message | None:
        for one in late if reply.metadata.group_id == "3" else []:
            grid.replies[one.metadata.reply_to_message_id] = one
        return at_round(2, 4, hold)(reply, grid)

    folder, _ = serve(scenario(), change)
    assert len(late) == 1
    assert dropped(folder) == {4: "device-4: no reply within 0.3 s"}


def test_an_old_reply_in_place_of_a_new_one_is_refused(scenario, serve) -> None:
    def replay(reply: Message, grid: Loopback) -> Message:
        mine = [one for one in grid.history if one.metadata.src_node_id == NODES[1]]
        old = Message(mine[-1].content, reply_to=reply)
        old.metadata.__dict__["_reply_to_message_id"] = reply.metadata.reply_to_message_id
        return old

    folder, _ = serve(scenario(), at_round(3, 1, replay))
    assert dropped(folder)[1].startswith("device-1: refused: the reply is for round 2")


def test_another_devices_reply_is_refused(scenario, serve) -> None:
    who = members()
    swapped = {**who.members, 2: replace(who.members[2], key=KEYS[3].public_key())}
    folder, _ = serve(scenario(), who=replace(who, members=swapped))
    assert "not signed by the key that is registered" in dropped(folder)[2]


def test_a_client_that_fails_is_blamed_as_in_a_simulation(scenario, serve) -> None:
    local = {"use": NAUGHTY, "lr": 0.1, "epochs": 1, "batch_size": 32, "how": "raise"}
    folder, _ = serve(scenario(local=local))
    assert dropped(folder)[1].startswith("device-1: ValueError: the sensor is broken (naughty.py:")


def test_a_revoked_device_has_no_turn(scenario, serve) -> None:
    who = members()
    gone = {**who.members, 5: replace(who.members[5], node=None)}
    folder, _ = serve(scenario(), who=replace(who, members=gone))
    assert dropped(folder) == {5: "device-5: no device has joined for this client"}


def away(reply: Message, grid: Loopback) -> Message:
    error = Message(Error(private.NODE_UNAVAILABLE, "Error: Node ..."), reply_to=reply)
    error.metadata.__dict__["_reply_to_message_id"] = reply.metadata.reply_to_message_id
    return error


def test_flowers_word_for_a_node_that_is_gone_is_put_plainly(scenario, serve) -> None:
    folder, _ = serve(scenario(), at_round(1, 0, away))
    assert dropped(folder) == {0: "device-0: the device is offline"}


def test_a_device_that_comes_back_in_its_turn_is_asked_again(scenario, play, serve) -> None:
    went: list[Message] = []

    def leave(reply: Message, grid: Loopback) -> Message:
        if went:
            return reply
        went.append(reply)
        return away(reply, grid)

    def change(reply: Message, grid: Loopback) -> Message | None:
        grid.joined = "today"
        return at_round(2, 0, leave)(reply, grid)

    of = scenario(strategy="scaffold")
    folder, _ = serve(of, change, who=members(deadline_s=60.0))
    assert len(went) == 1
    assert dropped(folder) == {}
    assert folder.result().weights_sha256 == play(of).result.weights_sha256


def test_a_device_that_stays_away_is_named_before_the_deadline(scenario, serve) -> None:
    def leave(reply: Message, grid: Loopback) -> Message:
        grid.away.add(NODES[0])
        return away(reply, grid)

    def change(reply: Message, grid: Loopback) -> Message | None:
        grid.joined = "today"
        return at_round(2, 0, leave)(reply, grid)

    folder, _ = serve(scenario(rounds=2), change, who=members(deadline_s=60.0))
    assert dropped(folder) == {0: "device-0: the device is offline"}
    assert folder.rounds()[1].seconds < 30


@pytest.mark.parametrize("name", ["scaffold"])
def test_a_run_whose_server_died_in_a_round_ends_the_same(
    name, scenario, play, serve, tmp_path
) -> None:
    class Died(Exception):
        """Stands for the end of Flower's server."""

    def die(reply: Message, grid: Loopback) -> Message:
        raise Died

    of = scenario(strategy=name)
    with pytest.raises(Died):
        serve(of, at_round(2, 3, die))  # some devices have taken their turn already
    folder = RunFolder.open(tmp_path / "served")
    serve(of, folder=folder)
    result, whole = folder.result(), play(of).result
    assert result is not None
    assert result.weights_sha256 == whole.weights_sha256
    assert result.metrics_sha256 == whole.metrics_sha256
