"""What the private runs of a comparison have spent, from their ledgers."""

from __future__ import annotations

from collections import Counter

from fedsim.errors import FedsimError
from fedsim.privacy.claim import claim_of
from fedsim.privacy.ledger import NAME, Ledger
from fedsim.privacy.statement import statement_of
from fedsim.report.collect import Collection, Trial
from fedsim.report.spending import Spending
from fedsim.scenario.load import load
from fedsim.scenario.schema import Scenario

__all__ = ["spendings"]


def spendings(collection: Collection) -> list[Spending]:
    """Return the statement of the first finished run of each level in each setting.

    Runs that promise nothing are left out; one whose ledger was edited is in it with the reason.
    """
    found = []
    for setting in collection.settings:
        for level in collection.levels:
            private = [
                one
                for one in collection.of(level, setting)
                if one.status == "finished" and one.scenario.get("privacy")
            ]
            found += [_spending(one) for one in private[:1]]
    return found


def _spending(trial: Trial) -> Spending:
    said = dict(trial.scenario["privacy"])
    unit, delta = str(said.get("unit")), float(said.get("delta", 0))
    try:
        scenario = load(trial.folder.scenario)
        lines = statement_of(trial.folder, scenario).lines
        epsilon = _epsilon(trial, scenario)
    except FedsimError as error:
        lines, epsilon = (("no statement", str(error)),), None
    return Spending(trial.level, trial.setting, unit, delta, epsilon, lines)


def _epsilon(trial: Trial, scenario: Scenario) -> float | None:
    """Return the epsilon of whoever has paid most."""
    ledger = Ledger.read(trial.folder.path / NAME)
    if ledger is None or scenario.privacy is None:
        return None
    noise = ledger.promise["noise_multiplier"]
    known = scenario.privacy.model_copy(update={"noise_multiplier": noise})
    private = scenario.model_copy(update={"privacy": known})
    claim = claim_of(private, int(ledger.promise["population"]))
    paid: Counter[int] = Counter()
    for charge in ledger.charges:
        paid.update(charge.clients or ())
    most = len(ledger.charges) if known.is_central else max(paid.values(), default=0)
    return claim.epsilon(most)
