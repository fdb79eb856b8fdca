"""What JDME asks of clients: class moments, a linear head, labels guessed where they stay.

References:
    Jin et al., "Joint Distribution Matching Embedding for Unsupervised Domain Adaptation",
    Neurocomputing 2020; the federated form is ours.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from fedsim.adapt.joint_matching import Moments, moments_of
from fedsim.adapt.joint_matching_random import RandomEmbedding
from fedsim.adapt.pseudo_labels import pseudo_labels, rows_of
from fedsim.adapt.subspace_messages import (
    JdmeReply,
    LinearHead,
    SearchAnswer,
    SearchQuestion,
    SearchTerms,
)
from fedsim.client import Examples
from fedsim.clients.sgd import Sgd
from fedsim.errors import MissingPackage
from fedsim.wire import Instruction, Update, Weights

__all__ = ["ClassMoments"]


@dataclass(frozen=True)
class ClassMoments(Sgd):
    """Sources send moments of their classes and fit the head; targets send guessed classes'."""

    penalty: Annotated[float, Gt(0)] = 1.0
    """C of the support vector machine."""
    loss: Literal["hinge", "squared_hinge"] = "squared_hinge"
    """Loss of the support vector machine, one class against the rest."""
    max_width: Annotated[int, Ge(1)] = 2048
    """More values than this in one example are refused: moments grow with their square."""
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    unsupported: ClassVar[tuple[tuple[str, str], ...]] = (
        ("augment", "its moments are of examples as they are"),
        ("stop", "it takes no epochs but for the references"),
    )

    def source(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return, in the first round, class moments and a head on the inputs as they are."""
        reply = JdmeReply(moments={})
        if instruction.round == 1 and len(examples):
            rows = rows_of(examples, self.max_width)
            moments = _moments(rows, examples.labels, model, instruction).packed()
            head = self._head(rows, examples.labels, _classes(model), generator)
            reply = JdmeReply(moments=moments, raw=head)
        return Update(instruction.client.id, {}, len(examples), extras=reply.to_extras())

    def label(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Guess this target's labels, and return the moments of the guessed classes alone.

        With random features it returns in the first round those of all examples together.
        """
        reply: Weights = {}
        if len(examples) and not (_is_random(instruction) and instruction.round > 1):
            rows = rows_of(examples, self.max_width)
            labels = pseudo_labels(model, examples.inputs, rows, instruction)
            reply = _moments(rows, labels, model, instruction).packed()
        extras = JdmeReply(moments=reply).to_extras()
        return Update(instruction.client.id, {}, len(examples), extras=extras)

    def search(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Answer what the search for a subspace asks: class sums of random features, or a slope.

        A target guesses its labels by the model as it was at the round's begin, every time anew,
        so it has nothing to keep.
        """
        reply: Weights = {}
        terms = SearchTerms.from_broadcast(instruction.broadcast)
        if len(examples) and terms.trial:
            question = SearchQuestion.from_weights(terms.trial)
            rows, basis = rows_of(examples, self.max_width), question.basis.double()
            at_source = instruction.client.role == "source"
            labels = (
                examples.labels
                if at_source
                else pseudo_labels(model, examples.inputs, rows, instruction)
            )
            embed = RandomEmbedding(terms.features, terms.bandwidth, terms.seed)
            if question.pull is not None:
                slope = embed.slope(rows, labels, basis, question.pull.double())
                reply = SearchAnswer(slope).to_weights()
            else:
                reply = embed.class_sums(rows, labels, basis, _classes(model)).to_weights()
        extras = JdmeReply(moments=reply).to_extras()
        return Update(instruction.client.id, {}, len(examples), extras=extras)

    def head(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return a head fitted to this source's examples in the subspace."""
        reply = JdmeReply()
        if len(examples):
            with torch.no_grad():
                rows = model.eval().features(examples.inputs).double()  # type: ignore[operator]
            head = self._head(rows, examples.labels, _classes(model), generator)
            reply = JdmeReply(fitted=head)
        return Update(instruction.client.id, {}, len(examples), extras=reply.to_extras())

    def _head(
        self, rows: Tensor, labels: Tensor, classes: int, generator: torch.Generator
    ) -> Weights:
        """Return the linear machine of the classes that are here; the others are never chosen."""
        try:
            from sklearn.svm import LinearSVC
        except ImportError as error:
            raise MissingPackage(
                "JDME's heads need scikit-learn: pip install 'fedsim[sim]'"
            ) from error
        weight = np.zeros((classes, rows.shape[1]))
        bias = np.full(classes, -1e6)
        present = sorted(set(labels.tolist()))
        if len(present) == 1:
            bias[present[0]] = 0.0
        else:
            seed = int(torch.randint(2**31, (), generator=generator))
            dual = "auto" if self.loss == "squared_hinge" else True
            machine = LinearSVC(
                C=self.penalty, loss=self.loss, dual=dual, max_iter=10_000, random_state=seed
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # ten thousand passes are near enough
                machine.fit(rows.cpu().numpy(), labels.cpu().numpy())
            two = len(present) == 2
            coefficients, offset = machine.coef_, machine.intercept_
            weight[present] = np.vstack([-coefficients, coefficients]) if two else coefficients
            bias[present] = np.concatenate([-offset, offset]) if two else offset
        return LinearHead(torch.from_numpy(weight), torch.from_numpy(bias)).to_weights()


def _is_random(instruction: Instruction) -> bool:
    return SearchTerms.from_broadcast(instruction.broadcast).random


def _moments(rows: Tensor, labels: Tensor, model: nn.Module, instruction: Instruction) -> Moments:
    """Return the class moments; where classes are compared by random features, of all rows."""
    if _is_random(instruction):
        return moments_of(rows, torch.zeros_like(labels), 1)
    return moments_of(rows, labels, _classes(model))


def _classes(model: nn.Module) -> int:
    return int(model.head.out_features)  # type: ignore[union-attr,arg-type]
