"""A reply is used once, as it was signed, by whom it was asked for: anything else is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from flwr.app import Array, ConfigRecord, RecordDict

from fedsim.errors import RunFolderError
from fedsim.flower import codec, proof
from fedsim.flower.arrays import settled
from fedsim.wire import Update

KEY, OTHER = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))


def question(**fields) -> proof.Challenge:
    return replace(proof.Challenge("run", 3, 1, "train", 1, proof.nonce()), **fields)


def reply() -> RecordDict:
    delta = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2)}
    return codec.update_records(Update(1, delta, 12, {"loss": 0.25}, {"c": {"w": torch.ones(3)}}))


def signed(asked: proof.Challenge, key: proof.PrivateKey = KEY) -> RecordDict:
    content = reply()
    proof.prove(content, asked, key)
    return content


def test_an_answer_is_taken() -> None:
    asked = question()
    assert proof.fault(signed(asked), asked, KEY.public_key()) == ""


def test_a_question_travels_in_a_message() -> None:
    asked = question()
    content = proof.with_challenge(RecordDict({"config": ConfigRecord({"a": 1})}), asked)
    assert proof.challenge_of(content) == asked
    assert proof.challenge_of(RecordDict()) is None


@pytest.mark.parametrize("number", range(50))
def test_a_replay_of_any_earlier_reply_is_refused(number) -> None:
    now = question(round=1 + number % 5, client=number % 3)
    old = question(round=now.round, client=now.client)
    assert "(a replay)" in proof.fault(signed(old), now, KEY.public_key())


@pytest.mark.parametrize("number", range(46))
def test_a_reply_with_one_byte_changed_is_refused(number) -> None:
    asked = question()
    content = signed(asked)
    array = content.array_records["delta"]["w"]
    data = bytearray(array.data)
    data[-1 - number % 24] ^= 1 << number % 8
    changed = Array(array.dtype, array.shape, array.stype, bytes(data))
    content.array_records["delta"]["w"] = changed
    assert "was changed" in proof.fault(content, asked, KEY.public_key())


@pytest.mark.parametrize("change", ["metric", "name", "record", "examples"])
def test_a_reply_with_another_body_is_refused(change) -> None:
    asked = question()
    content = signed(asked)
    if change == "metric":
        content.metric_records["metrics"]["loss"] = 0.2500000001
    elif change == "examples":
        content.metric_records["metrics"]["num-examples"] = 13
    elif change == "name":
        record = content.array_records["delta"]
        record["v"] = record.pop("b")
    else:
        content["more"] = ConfigRecord({"a": 1})
    assert "was changed" in proof.fault(content, asked, KEY.public_key())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"run": "another"}, "run 'another'"),
        ({"round": 2}, "round 2"),
        ({"turn": 2}, "turn 2"),
        ({"phase": "evaluate"}, "phase 'evaluate'"),
        ({"client": 2}, "client 2"),
    ],
)
def test_a_reply_to_another_question_is_refused(fields, said) -> None:
    asked = question()
    content = signed(replace(asked, **fields))
    assert said in proof.fault(content, asked, KEY.public_key())


def test_a_reply_by_another_key_is_refused() -> None:
    asked = question()
    assert "registered" in proof.fault(signed(asked, OTHER), asked, KEY.public_key())


def test_a_proof_that_was_made_for_another_question_cannot_be_relabelled() -> None:
    asked = question()
    content = signed(question())
    content.config_records[proof.PROOF]["nonce"] = asked.nonce
    assert "registered" in proof.fault(content, asked, KEY.public_key())


@pytest.mark.parametrize("signature", [b"", b"x" * 100, "text", 7])
def test_a_signature_that_is_none_is_refused(signature) -> None:
    asked = question()
    content = signed(asked)
    content.config_records[proof.PROOF]["signature"] = signature
    assert "registered" in proof.fault(content, asked, KEY.public_key())


def test_a_reply_without_a_proof_is_refused() -> None:
    assert "not signed" in proof.fault(reply(), question(), KEY.public_key())


def test_true_is_not_one() -> None:
    asked = question(client=1)
    content = signed(asked)
    content.config_records[proof.PROOF]["client"] = True
    assert "refused" in proof.fault(content, asked, KEY.public_key())


def test_the_hash_is_that_of_flowers_own_arrays() -> None:
    asked = question()
    assert proof.fault(settled(signed(asked)), asked, KEY.public_key()) == ""


def test_keys_are_read_in_openssh_format(tmp_path) -> None:
    path = tmp_path / "node.key"
    path.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    line = KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    asked = question()
    content = signed(asked, proof.key_at(path))
    assert proof.fault(content, asked, proof.public_key(line)) == ""


def test_what_is_no_key_is_refused(tmp_path) -> None:
    path = tmp_path / "node.key"
    path.write_text("nonsense")
    with pytest.raises(RunFolderError, match="holds no key"):
        proof.key_at(path)
    with pytest.raises(RunFolderError, match="no public key"):
        proof.public_key("nonsense")
