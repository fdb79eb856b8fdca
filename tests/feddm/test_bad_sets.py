"""A malformed synthetic set costs its sender the round, and nobody else."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from fedsim.client import Examples
from fedsim.clients.matching import Matching
from fedsim.strategies.feddm import FedDM
from fedsim.strategy import ReplySpec
from fedsim.wire import Instruction, Update

WANTED = ReplySpec((1, 8, 8), 10, {"images_per_class": 2})
GOOD = {"images": torch.randn(4, 1, 8, 8), "labels": torch.tensor([3, 3, 9, 9])}

REASONS = {
    "shape": r"images of shape \(1, 8, 7\), where \(1, 8, 8\) was expected",
    "flat": "256 images, labels of shape",
    "scalar": "no table of images and labels",
    "label": "the label 13, where there are 10 classes",
    "negative label": "the label -97",
    "float labels": "no table of images and labels",
    "too many": "6 images of class 3, where images_per_class allows 2",
    "fewer labels": r"4 images, labels of shape \(3,\)",
    "no labels": "lacks labels",
    "weight": "a weight that is not above zero",
    "weights": r"4 images, weight of shape \(4, 2\)",
    "overflow": "not finite when they are decoded",
    "ranges": "coded by more than one range",
    "nothing": r"sent no synthetic set: local: \{use: matching\} makes one",
}


@dataclass(frozen=True)
class BadSets(Matching):
    """Sends ``how`` in place of its set when client 1 has its turn in round 2."""

    how: str = "nan"

    def match(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        update = super().match(model, examples, instruction, generator)
        if (instruction.client.id, instruction.round) != (1, 2):
            return update
        changed = spoilt(update.extras["synthetic"], self.how)
        return replace(update, extras={"synthetic": changed} if changed else {})


def spoilt(sent: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    """Return a good set with one thing wrong with it."""
    images, labels = sent["images"], sent["labels"]
    match how:
        case "nan":
            return {**sent, "images": images * float("nan")}
        case "shape":
            return {**sent, "images": images[..., :-1]}
        case "flat":
            return {**sent, "images": images.flatten()}
        case "scalar":
            return {**sent, "images": images.sum()}
        case "label":
            return {**sent, "labels": labels.long() + 10}
        case "negative label":
            return {**sent, "labels": labels.long() - 100}
        case "float labels":
            return {**sent, "labels": labels.float()}
        case "too many":
            return {"images": torch.cat([images] * 3), "labels": torch.cat([labels] * 3)}
        case "fewer labels":
            return {**sent, "labels": labels[1:]}
        case "no labels":
            return {"images": images}
        case "weight":
            return {**sent, "weight": -torch.ones(len(labels))}
        case "weights":
            return {**sent, "weight": torch.ones(len(labels), 2)}
        case "overflow":
            big = torch.tensor(3e38)
            return {**sent, "images": torch.full_like(images, 255.0), "step": big, "low": big}
        case "ranges":
            return {**sent, "step": torch.ones(3), "low": torch.ones(3)}
    return {}


def fault(sent: dict[str, torch.Tensor]) -> str:
    extras = {"synthetic": sent} if sent else {}
    return FedDM().fault(Update(5, {}, 1, {}, extras), WANTED)


@pytest.mark.parametrize("how", REASONS)
def test_what_cannot_be_trained_on_is_a_fault_with_its_reason(how: str) -> None:
    found = fault(spoilt(GOOD, how))
    assert re.search(REASONS[how], found), found


def test_a_good_set_has_no_fault_nor_has_an_empty_one() -> None:
    assert fault(GOOD) == ""
    assert fault({"images": torch.zeros(0, 1, 8, 8), "labels": torch.zeros(0).byte()}) == ""
    half = {"images": GOOD["images"].byte(), "step": torch.tensor(0.1), "low": torch.tensor(-1.0)}
    assert fault({**half, "labels": GOOD["labels"].byte(), "weight": torch.ones(4)}) == ""


IN_A_RUN = {"nan": "not finite", "label": "the label 1", "nothing": "sent no synthetic set"}


@pytest.mark.parametrize("how", IN_A_RUN)
def test_its_sender_is_dropped_and_the_run_goes_on(how, scenario, play) -> None:
    half = f"{__file__}:BadSets"
    outcome = play(
        scenario(
            model={"use": "convnet", "width": 4, "depth": 1},
            clients={"count": 3},
            local={"use": half, "how": how, "images_per_class": 2, "steps": 1},
            strategy={"use": "feddm", "epochs": 1},
        )
    )
    dropped = [[(one.client, one.phase) for one in record.dropped] for record in outcome.rounds]
    assert dropped == [[], [(1, "match")], []]
    assert IN_A_RUN[how] in outcome.rounds[1].dropped[0].reason
    assert outcome.result.dropped == 1
