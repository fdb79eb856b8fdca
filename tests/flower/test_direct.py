"""On our own hosts no message is made, and what comes of a turn is the same to the last bit."""

from __future__ import annotations

import pickle  # noqa: TID251 -- what Ray does
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Context, Message, RecordDict

from fedsim.data.federated import prepare
from fedsim.flower import codec
from fedsim.flower.arrays import count_bytes
from fedsim.flower.chunk import Chunk, ChunkReply, Memory
from fedsim.flower.client_app import CLIENT_KEY, make_client_app, message_type
from fedsim.flower.flwr_internals import identify
from fedsim.flower.parts import strategy_of
from fedsim.flower.replies import Asked, read
from fedsim.runtime.host import Host
from fedsim.wire import ReplyInfo, Update

PLAIN = Update(
    client=9,
    delta={"w": torch.randn(2, 3), "b": torch.tensor(1.5), "count": torch.zeros(0, 4)},
    examples=17,
    metrics={"loss": 0.25, "seen": 3},
    extras={"control": {"w": torch.randn(3, 2).t()}, "table": {"n": torch.arange(4)}},
)


def changed(**fields: Any) -> Update:
    return replace(PLAIN, **fields)


ODD: dict[str, Any] = {
    "a float as examples": changed(examples=2.5),
    "a metric called as Flower's own": replace(PLAIN, metrics={"num-examples": 3}),
    "NumPy's floats": replace(PLAIN, metrics={"loss": np.float64(1)}),
    "a parameter": replace(PLAIN, delta={"w": torch.nn.Parameter(torch.ones(2))}),
    "a gradient's leaf": replace(PLAIN, delta={"w": torch.ones(2, requires_grad=True)}),
    "numbers that NumPy lacks": replace(PLAIN, delta={"w": torch.ones(2, dtype=torch.bfloat16)}),
    "a sparse tensor": replace(PLAIN, delta={"w": torch.eye(3).to_sparse()}),
    "no tensor": changed(delta={"w": [1.0]}),
}


def test_a_plain_update_is_what_its_message_would_say() -> None:
    content = codec.update_records(PLAIN)
    found = codec.received(PLAIN, 4)
    assert found is not None
    update, size = found
    assert size == count_bytes(content)
    decoded = codec.update_in(content, 4)
    assert (update.client, update.examples) == (decoded.client, decoded.examples) == (4, 17)
    assert update.metrics == decoded.metrics == {"loss": 0.25, "seen": 3.0}
    pairs = [(update.delta, decoded.delta)]
    pairs += [(update.extras[name], decoded.extras[name]) for name in ("control", "table")]
    for ours, theirs in pairs:
        assert list(ours) == list(theirs)
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype
            assert torch.equal(ours[name], theirs[name])


@pytest.mark.parametrize("how", ODD)
def test_what_is_not_plain_goes_through_its_message(how) -> None:
    assert codec.received(ODD[how], 4) is None


def test_a_chunk_and_its_reply_survive_the_way_to_another_process() -> None:
    memory: dict[int, Memory] = {3: {"control": {"w": torch.randn(2, 3)}}}
    chunk = Chunk([3, 4], [0, 0], memory, "train", False, [2], 1, 5.0)
    back = pickle.loads(pickle.dumps(chunk))
    assert torch.equal(back.states[3]["control"]["w"], memory[3]["control"]["w"])
    assert (back.clients, back.groups, back.home, back.cost) == ([3, 4], [2], 1, 5.0)
    reply = ChunkReply(False, [ReplyInfo(9)], [PLAIN, replace(PLAIN, extras={})], states=memory)
    again = pickle.loads(pickle.dumps(reply))
    assert [update.examples for update in again.updates] == [17, 17]
    assert torch.equal(again.updates[0].extras["control"]["w"], PLAIN.extras["control"]["w"])
    assert torch.equal(again.updates[1].delta["w"], PLAIN.delta["w"])
    assert again.updates[1].extras == {}
    assert torch.equal(again.states[3]["control"]["w"], memory[3]["control"]["w"])
    assert reply.updates[0] is PLAIN  # packing changes nothing of what is packed


@pytest.mark.parametrize("name", ["fedavg", "scaffold", "fednova", "fedprox"])
def test_the_app_of_a_device_gives_what_our_host_gives(name, scenario, tmp_path) -> None:
    of = scenario(strategy=name)
    data = prepare(of, tmp_path / "data")
    host, strategy = Host(of, tmp_path / "data"), strategy_of(of)
    identify(1)
    app = make_client_app(lambda _: host.worker, strategy.phases())
    state = strategy.begin(host.worker.initial, data.clients)
    kept: dict[int, RecordDict] = {info.id: RecordDict() for info in data.clients}
    memories: dict[int, Memory] = {}
    for number in (1, 2):
        for phase in strategy.phases():
            state = replace(state, round=number, phase=phase)
            for info in data.clients:
                sent = strategy.broadcast(state, info)
                content = codec.Encoder(number).content(sent)
                chunk = Chunk([info.id], [0], memories, phase, False, [1])
                reply = host.run(chunk, [content])
                memories |= reply.states
                message = Message(content, info.id, message_type(phase))
                context = Context(1, info.id, {CLIENT_KEY: info.id}, kept[info.id], {})
                asked = Asked(phase, sent.weights, strategy, sent.settings)
                update, turn = read(app(message, context), info, asked)
                assert update is not None
                assert replace(reply.turns[0], seconds=0.0) == turn
                same(reply.updates[0], update)
                assert codec.memory_of(context.state).keys() == memories.get(info.id, {}).keys()


def same(one: Update, other: Update) -> None:
    assert (one.client, one.examples, one.metrics) == (other.client, other.examples, other.metrics)
    pairs = [(one.delta, other.delta)] + [(one.extras[k], other.extras[k]) for k in other.extras]
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
