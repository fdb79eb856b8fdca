"""Charges the ledger before each round, and stops a run before its budget is exceeded.

Central noise is charged when the sum is known and before the noise is drawn.  Clients that add
their own noise release it by answering, so they are charged before they are asked.

A round that is done again after a crash is charged again, unless it is a replay: with
``rng: simulation`` the same sum gets the same noise, so nothing new is released.  Another sum
never gets noise that was used before: the difference of two such releases would have none.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fedsim.aggregate import Sums
from fedsim.cohort import Sampler
from fedsim.errors import BudgetSpent, RunError
from fedsim.privacy.ledger import NAME, LedgerCharge, LedgerHead, PrivacyLedger
from fedsim.privacy.noise import NoiseSource, SecureNoise, SimulatedNoise
from fedsim.privacy.privacy_spec import PrivacySpec
from fedsim.privacy.private_model import check_private_model
from fedsim.privacy.private_strategy import PrivateStrategy
from fedsim.runlog.events import RoundRecord
from fedsim.strategy import ServerState, Strategy
from fedsim.wire import Merged, Weights

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["PrivacyEngine", "Unforeseen"]

STREAM = "privacy"


class PrivacyEngine:
    """One run's claim, its ledger, and what is left of its budget."""

    def __init__(self, claim: PrivacySpec, folder: Path) -> None:
        """Open the ledger in ``folder``, or begin it.

        Raises:
            RunFolderError: if the ledger was edited, or promises something else.
        """
        self.claim = claim
        self.ledger = PrivacyLedger.open(folder / NAME, claim.facts())
        self._spent: Counter[int] = Counter()
        for charge in self.ledger.charges:
            self._count(charge)
        self._most = max(claim.most_turns(), self.turns)
        self._affordable = claim.affordable(self._most)

    def verify(self, plain: Mapping[str, Any] | None, records: Iterable[RoundRecord]) -> None:
        """Check the ledger against a checkpoint's :attr:`plain` and the rounds that are finished.

        Raises:
            RunFolderError: if the ledger goes back in time.
        """
        since = LedgerHead(**plain) if plain else None
        self.ledger.verify(since, [record.round for record in records])

    @classmethod
    def of(cls, claim: PrivacySpec, folder: Path, model: nn.Module) -> PrivacyEngine:
        """Return the guard of a run that trains ``model``.

        Raises:
            ScenarioError: if the model would tell of its examples what no noise covers.
            RunFolderError: as for :class:`PrivacyEngine`.
        """
        check_private_model(model, claim)
        return cls(claim, folder)

    @property
    def notes(self) -> list[str]:
        """What a user should see before the first round."""
        privacy, most = self.claim.privacy, self.claim.most_turns()
        first = (
            f"privacy: {privacy.unit} level, {self.claim.relation}; noise multiplier "
            f"{self.claim.noise_multiplier:g}, all rounds epsilon {self.claim.epsilon(most):.4g} "
            f"at delta {privacy.delta:g} ({privacy.accountant})"
        )
        notes = [first]
        if self._is_simulated:
            notes.append("privacy: noise comes from the seed (rng: simulation): not for release")
        if privacy.metrics == "simulation":
            notes.append("privacy: clients' metrics are kept without noise: simulation only")
        return notes

    @property
    def plain(self) -> dict[str, Any]:
        """What a checkpoint has to remember."""
        return asdict(self.ledger.head)

    @property
    def turns(self) -> int:
        """How many turns are spent: by the busiest client, where clients pay for themselves."""
        return max(self._spent.values(), default=0)

    def before(self, number: int, state: ServerState) -> None:
        """Make sure that round ``number`` is affordable, before any client is asked.

        Where the clients add the noise, the round is charged here.

        Args:
            number: of the round, from 1.
            state: what the server knows before it.

        Raises:
            RunError: if simulated noise would be used on two models.
            BudgetSpent: if the round could cost more than is left; nobody is asked.
        """
        done = self.ledger.of_round(number)
        if self.claim.privacy.is_central:
            # A replay costs nothing; whether it is one is known when the sum is.
            if not (done and self._is_simulated):
                self._afford(number, [0])
            return
        cohort = self.claim.crowd.drawn(number)
        digest = _digest(state.weights, number) if self._is_simulated else ""
        if not (digest and done):
            self._afford(number, cohort)
            self._pay(LedgerCharge(number, len(done) + 1, tuple(cohort), digest))
        elif done[-1].digest != digest:
            raise RunError(
                f"round {number} was released before from another model: clients' noise comes "
                "from the seed and would be used twice; start a new run"
            )

    def sampler(self) -> Sampler:
        """Return what draws the cohorts: hidden from who knows the seed, where that is claimed."""
        plain = self.claim.crowd.sampler
        is_hidden = self.claim.sample_rate < 1 and not self._is_simulated
        return Unforeseen(plain) if is_hidden else plain

    def releaser(
        self, strategy: Strategy
    ) -> Callable[[GuardedReplies, ServerState], Merged] | None:
        """Return what makes a round's release; None where clients add the noise themselves."""
        if not isinstance(strategy, PrivateStrategy):
            return None
        return lambda reply, state: self.release(reply.sums, state, strategy)

    def release(self, sums: Sums, state: ServerState, strategy: PrivateStrategy) -> Merged:
        """Return the noisy mean of round ``state.round``, after it is charged.

        Raises:
            BudgetSpent: if the round was released before from another sum, and no other is left.
        """
        number, clip = state.round, strategy.bound(state)
        done = self.ledger.of_round(number)
        charge = LedgerCharge(number, len(done) + 1)
        if self._is_simulated:
            total = {
                f"{name}.{key}": tensor
                for name, part in sums.by_name.items()
                for key, tensor in part.total().items()
            }
            charge = replace(charge, digest=_digest(total, clip))
        replay = next(
            (earlier for earlier in done if charge.digest and earlier.digest == charge.digest), None
        )
        if replay is None:
            self._afford(number, [0])
            self._pay(charge)
        source = self._source(number, (replay or charge).attempt)
        return self.claim.mechanism.release(sums, state.weights, clip, source)

    def cleaned(self, record: RoundRecord) -> RoundRecord:
        """Return ``record`` without what clients measured, or with it marked as simulation."""
        if self.claim.privacy.metrics == "none":
            return replace(record, train={})
        return replace(
            record, train={f"simulation-only.{name}": x for name, x in record.train.items()}
        )

    @property
    def _is_simulated(self) -> bool:
        return self.claim.privacy.rng == "simulation"

    def _source(self, number: int, attempt: int) -> NoiseSource:
        if self._is_simulated:
            return SimulatedNoise.at(self.claim.crowd.seed, STREAM, number, attempt)
        return SecureNoise()

    def _afford(self, number: int, payers: Iterable[int]) -> None:
        most = max((self._spent[client] + 1 for client in payers), default=0)
        if most > self._most:  # rounds that were done again cost more than was planned
            self._most = 2 * most
            self._affordable = self.claim.affordable(self._most)
        if most <= self._affordable:
            return
        budget = self.claim.privacy.budget
        epsilon_spent, limit = self.claim.epsilon(self.turns), budget.epsilon if budget else 0.0
        raise BudgetSpent(
            f"privacy budget (epsilon {limit:g}) reached before round {number}: "
            f"{epsilon_spent:.4g} is spent, another would make it {self.claim.epsilon(most):.4g}"
        )

    def _pay(self, charge: LedgerCharge) -> None:
        self.ledger.charge(charge)
        self._count(charge)

    def _count(self, charge: LedgerCharge) -> None:
        self._spent.update([0] if charge.clients is None else charge.clients)


@dataclass(frozen=True)
class Unforeseen:
    """A sampler whose draws the scenario's seed does not tell: amplification needs that."""

    sampler: Sampler

    def draw(self, population: int, size: int, round: int, seed: int) -> list[int]:
        """Return the positions of a cohort that is drawn anew each time; ``seed`` is not used."""
        return self.sampler.draw(population, size, round, int.from_bytes(os.urandom(32)))


class GuardedReplies(Protocol):
    """What came back from an exchange, as far as it is looked at here."""

    sums: Sums


def _digest(values: Weights, *facts: float) -> str:
    digest = hashlib.sha256(repr(facts).encode())
    for name, tensor in sorted(values.items()):
        digest.update(f"{name}|{tuple(tensor.shape)}|".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    data: bytes = tensor.detach().cpu().contiguous().numpy().tobytes()
    return data
