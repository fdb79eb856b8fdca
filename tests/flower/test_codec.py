"""Tensors cross the wire bit by bit, and no byte that comes back is trusted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from fedsim.flower import arrays, codec
from fedsim.flower.flwr_internals import identify
from fedsim.wire import Broadcast, Update

DTYPES = [torch.float32, torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool]


@given(
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 4), max_size=4),
    st.integers(0, 2**31),
)
def test_a_tensor_survives_bit_by_bit(dtype, shape, seed) -> None:
    raw = np.random.default_rng(seed).bytes(8 * int(np.prod(shape)))
    tensor = torch.from_numpy(np.frombuffer(bytearray(raw), np.uint8) if raw else np.zeros(0))
    tensor = tensor.to(torch.float64)[: int(np.prod(shape))].reshape(shape).to(dtype)
    (back,) = arrays.weights_of(arrays.record_of({"w": tensor})).values()
    assert back.dtype == dtype
    assert back.shape == tensor.shape
    assert back.numpy().tobytes() == tensor.numpy().tobytes()


def test_flower_reads_what_we_write_and_we_read_what_flower_writes() -> None:
    weights = {"a": torch.randn(3, 4), "b": torch.tensor(2.5)}
    theirs = ArrayRecord(weights)
    ours = arrays.record_of(weights)
    for name, tensor in weights.items():
        assert np.array_equal(ours[name].numpy(), tensor.numpy())
        assert torch.equal(arrays.weights_of(theirs)[name], tensor)
        assert ours[name].data == theirs[name].data


def test_a_content_that_is_kept_is_cut_loose_from_its_tensors() -> None:
    tensor = torch.ones(3)
    content = RecordDict({"delta": arrays.record_of({"w": tensor})})
    kept, size = arrays.settled(content), arrays.count_bytes(content)
    tensor.zero_()
    assert arrays.weights_of(kept.array_records["delta"])["w"].tolist() == [1.0, 1.0, 1.0]
    assert arrays.count_bytes(kept) == size


def bad_arrays() -> dict[str, Array]:
    good = Array(np.arange(6, dtype=np.float32))
    header = len(good.data) - 24
    pickled = np.array([{"evil": 1}], dtype=object)
    objects = arrays._header("|O", (1,)) + b"\x80\x04]."
    return {
        "an object array": Array("object", pickled.shape, "numpy.ndarray", objects),
        "raw bytes": Array("float32", (2,), "numpy.ndarray", b"\x80\x04K\x01."),
        "nothing": Array("float32", (2,), "numpy.ndarray", b""),
        "another format": Array("float32", (6,), "torch.save", good.data),
        "too short": Array("float32", (6,), "numpy.ndarray", good.data[:-1]),
        "too long": Array("float32", (6,), "numpy.ndarray", good.data + b"\0"),
        "a header alone": Array("float32", (6,), "numpy.ndarray", good.data[:header]),
        "eight terabytes": Array(
            "float64", (10**12,), "numpy.ndarray", arrays._header("<f8", (10**12,))
        ),
        "text": Array(np.array(["a", "b"])),
        "complex": Array(np.array([1j])),
    }


@pytest.mark.parametrize("kind", bad_arrays())
def test_a_malformed_array_is_refused_by_name(kind) -> None:
    with pytest.raises(ValueError, match="weird"):
        arrays.weights_of(ArrayRecord({"weird": bad_arrays()[kind]}))


def message(content: RecordDict) -> Message:
    identify(1)
    return Message(content, dst_node_id=5, message_type="train")


def test_an_update_survives_and_its_memory_stays_at_home() -> None:
    update = Update(
        client=4,
        delta={"w": torch.randn(2, 3)},
        examples=17,
        metrics={"loss": 0.25},
        extras={"control": {"w": torch.randn(2, 3)}},
        memory={"own": {"w": torch.ones(2)}},
    )
    back = codec.update_of(message(codec.update_records(update)), 4)
    assert (back.client, back.examples, back.metrics) == (4, 17, {"loss": 0.25})
    assert torch.equal(back.delta["w"], update.delta["w"])
    assert torch.equal(back.extras["control"]["w"], update.extras["control"]["w"])
    assert back.memory == {}


@pytest.mark.parametrize(
    "content",
    [
        RecordDict(),
        RecordDict({"metrics": MetricRecord({"num-examples": 3})}),
        RecordDict({"delta": ArrayRecord(), "metrics": MetricRecord({})}),
        RecordDict({"delta": ArrayRecord(), "metrics": MetricRecord({"num-examples": 2.5})}),
        RecordDict({"delta": ConfigRecord(), "metrics": MetricRecord({"num-examples": 1})}),
    ],
    ids=["empty", "no delta", "no examples", "half an example", "wrong kind of record"],
)
def test_a_reply_that_is_made_otherwise_is_refused(content) -> None:
    with pytest.raises(ValueError, match=r"reply|num-examples"):
        codec.update_of(message(content), 1)


def test_what_broadcasts_share_is_encoded_once() -> None:
    encoder = codec.Encoder(3)
    weights = {"w": torch.randn(5)}
    first = encoder.content(Broadcast(weights, settings={"mu": 1.0}))
    assert encoder.content(Broadcast(weights, settings={"mu": 1.0})) is first
    other = encoder.content(Broadcast(weights, settings={"mu": 2.0}))
    assert other is not first
    assert other["arrays"] is first["arrays"]


def test_a_broadcast_survives() -> None:
    sent = Broadcast(
        {"w": torch.randn(5)}, {"control": {"w": torch.randn(5)}}, {"mu": 0.5, "name": "x"}
    )
    content = codec.Encoder(9).content(sent)
    back = codec.Decoder().broadcast(content)
    assert codec.round_of(content) == 9
    assert torch.equal(back.weights["w"], sent.weights["w"])
    assert torch.equal(back.extras["control"]["w"], sent.extras["control"]["w"])
    assert back.settings == sent.settings
