"""What is wrong between the keys of ``finetune``, and between it and the rest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedsim.scenario.node import YamlNode

__all__ = ["EXACT_FOR", "wrong"]

EXACT_FOR = ("fedavg", "fedprox")
"""Strategies whose new weights are the mean of the clients': for them a mean of products is one."""

_OF_A_FILE = ("sha256", "rename", "allow")


def wrong(tree: YamlNode) -> Iterator[tuple[str, str]]:
    """Yield the keys that do not fit, and why."""

    def value(key: str) -> object:
        node = tree.at(key.split("."))
        return None if node is None else node.plain()

    weights, lora = value("finetune.weights"), value("finetune.lora")
    if isinstance(weights, str) and not os.path.exists(weights):
        yield "finetune.weights", f"there is no file or run's folder {weights!r}"
    for key in _OF_A_FILE:
        if weights is None and value(f"finetune.{key}"):
            yield f"finetune.{key}", "is of the file finetune.weights, which is not given"
    if value("finetune.train") and value("finetune.freeze"):
        yield "finetune.freeze", "say which are trained or which are frozen, not both"
    if isinstance(lora, dict) and value("finetune.freeze"):
        yield "finetune.freeze", "beside lora all is frozen but finetune.train"
    if isinstance(lora, dict) and lora.get("aggregate") == "exact":
        yield from _exact(value("strategy.use"), value("privacy"))


def _exact(strategy: object, privacy: object) -> Iterator[tuple[str, str]]:
    key = "finetune.lora.aggregate"
    if isinstance(strategy, str) and strategy not in EXACT_FOR:
        yield key, f"exact is for {' and '.join(EXACT_FOR)} alone, not {strategy}: ffa is exact too"
    if privacy is not None:
        yield key, "products of updates have no bound that noise could be made for: take ffa"
