"""What the private runs of a comparison have spent, from their ledgers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from fedsim.analysis.collect import Collection, Trial
from fedsim.analysis.spending import Spending
from fedsim.errors import FedsimError
from fedsim.privacy.ledger import NAME, PrivacyLedger
from fedsim.privacy.privacy_spec import privacy_spec_of
from fedsim.privacy.statement import statement_of
from fedsim.scenario.load import load
from fedsim.schema.scenario import Scenario

__all__ = ["spendings"]

POINTS = 8
"""Of a curve of epsilons: each takes the accountant a moment."""


def spendings(collection: Collection) -> list[Spending]:
    """Return the statement of the first finished run of each level in each setting.

    Runs that promise nothing are left out; one whose ledger was edited is in it with the reason.
    """
    all_spendings = []
    for setting in collection.settings:
        for level in collection.levels:
            private = [
                trial
                for trial in collection.of(level, setting)
                if trial.status == "finished" and trial.scenario.get("privacy")
            ]
            all_spendings += [_spending(trial) for trial in private[:1]]
    return all_spendings


def _spending(trial: Trial) -> Spending:
    privacy = dict(trial.scenario["privacy"])
    unit, delta = str(privacy.get("unit")), float(privacy.get("delta", 0))
    budget = privacy.get("budget") or {}
    try:
        scenario = load(trial.folder.scenario)
        lines = statement_of(trial.folder, scenario).lines
        curve = tuple(_curve(trial, scenario))
    except FedsimError as error:
        lines, curve = (("no statement", str(error)),), ()
    most = budget.get("epsilon")
    return Spending(trial.level, trial.setting, unit, delta, curve, most, lines)


def _curve(trial: Trial, scenario: Scenario) -> Iterator[tuple[int, float]]:
    """Yield after some rounds, the last one among them, what whoever paid most has spent."""
    ledger = PrivacyLedger.read(trial.folder.path / NAME)
    if ledger is None or scenario.privacy is None or not ledger.charges:
        return
    noise = ledger.promise["noise_multiplier"]
    planned = scenario.privacy.model_copy(update={"noise_multiplier": noise})
    private = scenario.model_copy(update={"privacy": planned})
    claim = privacy_spec_of(private, int(ledger.promise["population"]))
    rounds = sorted({charge.round for charge in ledger.charges})
    selected = {rounds[int(k)] for k in np.linspace(0, len(rounds) - 1, POINTS).round()}
    paid: Counter[int] = Counter()
    for place, charge in enumerate(ledger.charges, 1):
        paid.update(charge.clients or ())
        is_last = place == len(ledger.charges) or ledger.charges[place].round != charge.round
        if is_last and charge.round in selected:
            most = place if planned.is_central else max(paid.values(), default=0)
            yield charge.round, claim.epsilon(most)
