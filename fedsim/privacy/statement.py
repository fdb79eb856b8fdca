"""A run's privacy statement, on one page."""

from __future__ import annotations

import html
import statistics
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.errors import RunFolderError
from fedsim.privacy.accountant import Release
from fedsim.privacy.ledger import NAME, PrivacyLedger
from fedsim.privacy.privacy_spec import PrivacySpec, privacy_spec_of

if TYPE_CHECKING:
    from fedsim.runlog.run_folder import RunFolder
    from fedsim.schema.scenario import Scenario

__all__ = ["Statement", "as_html", "as_markdown", "statement_of"]


@dataclass(frozen=True)
class Statement:
    """The page: its title and its lines, each a label and a text."""

    title: str
    lines: tuple[tuple[str, str], ...]


def statement_of(folder: RunFolder, scenario: Scenario) -> Statement:
    """Return the statement of a run, from its ledger.

    Args:
        folder: of the run.
        scenario: the run's own.

    Raises:
        RunFolderError: if nothing was promised, or the ledger was edited.
    """
    ledger = PrivacyLedger.read(folder.path / NAME)
    if scenario.privacy is None or ledger is None:
        raise RunFolderError(f"{folder.path} has no privacy ledger: nothing was promised")
    noise = ledger.promise["noise_multiplier"]
    privacy = scenario.privacy.model_copy(update={"noise_multiplier": noise})
    claim = privacy_spec_of(
        scenario.model_copy(update={"privacy": privacy}), int(ledger.promise["population"])
    )
    ledger.verify(None, [record.round for record in folder.rounds()])
    lines = (
        ("promise", _promise(claim, ledger)),
        ("unit", _unit(claim)),
        ("neighbours", f"{claim.relation}; sensitivity {claim.sensitivity:g} x clip"),
        ("mechanism", _mechanism(claim)),
        ("sampling", _sampling(claim)),
        ("accountant", _accountant(claim)),
        ("spent", _spent(claim, ledger)),
        ("budget", _budget(claim, ledger)),
        ("noise from", _rng(claim)),
        ("not covered", "; ".join(_not_covered(claim, scenario))),
        ("ledger", f"{NAME}, charges: {len(ledger.charges)}, hash chain ok"),
    )
    return Statement(f"Privacy of {scenario.name}", lines)


def _promise(claim: PrivacySpec, ledger: PrivacyLedger) -> str:
    """Return what is promised as one sentence, for readers who skip the rest."""
    privacy, visible = claim.privacy, "the models of all rounds"
    if not privacy.is_central:
        visible = "all that clients send, the server too,"
    hidden = "whether any one client took part"
    if privacy.unit == "record":
        hidden = "whether any one example was among a client's data"
    elif claim.sensitivity > 1:
        hidden = "any one client's data from another's"
    bound = f"(epsilon {claim.epsilon(_most(claim, ledger)):.4g}, delta {privacy.delta:g})"
    if privacy.rng == "simulation":
        return f"none: the noise comes from a seed; with rng: secure it would be {bound} as below"
    return f"who sees {visible} cannot tell {hidden}, up to {bound}"


def _unit(claim: PrivacySpec) -> str:
    if claim.privacy.unit == "client":
        return "client: all that one client holds and sends, as a whole"
    return "record: one training example of one client"


def _mechanism(claim: PrivacySpec) -> str:
    privacy = claim.privacy
    what = "the sum of the round's updates" if privacy.is_central else "each client's update"
    if privacy.unit == "record":
        what = "sums of clipped shares of examples"
    who = (
        "the server, which is trusted"
        if privacy.is_central
        else "each client: no server is trusted"
    )
    clip = f"clip {privacy.clip:g}" + (
        " at first, then adaptive" if privacy.clipping != "fixed" else ""
    )
    return (
        f"Gaussian noise on {what}, {clip}, noise multiplier {claim.noise_multiplier:g} "
        f"(standard deviation over clip), added by {who}"
    )


def _sampling(claim: PrivacySpec) -> str:
    crowd, privacy = claim.crowd, claim.privacy
    how = type(crowd.sampler).__name__.lower()
    drawn = f"{how}, {crowd.cohort} of {crowd.population} clients a round"
    if privacy.unit == "record":
        releases = "; ".join(_release(subsampled) for subsampled in claim.releases(1))
        return f"{drawn}: no amplification claimed by that; a turn releases {releases}"
    if claim.sample_rate >= 1:
        return f"{drawn}: no amplification claimed"
    if claim.sampling == "fixed":
        rdp = "with RDP" if claim.accountant == "rdp" else "(the PLD accountant has none for it)"
        is_claimed = "amplification" if claim.accountant == "rdp" else "no amplification claimed"
        return f"{drawn}, without replacement: {is_claimed} {rdp}"
    return f"{drawn}, each on its own coin flip with chance {claim.sample_rate:g}: amplification"


def _release(release: Release) -> str:
    """Return one kind of release of a local update rule, in words."""
    who = "of all examples: no amplification"
    if release.sample_rate < 1:
        who = f"of samples, each example in with chance {release.sample_rate:g}: amplification"
    times = "once" if release.times == 1 else f"{release.times} times"
    return f"{times} a sum {who} claimed, noise {release.noise_multiplier:g} times the sensitivity"


def _accountant(claim: PrivacySpec) -> str:
    names = {
        "pld": "PLD (privacy loss distribution, dp-accounting)",
        "rdp": "RDP (Rényi, dp-accounting)",
    }
    return f"{names[claim.accountant]} at delta {claim.privacy.delta:g}, all turns composed at once"


def _turns(claim: PrivacySpec, ledger: PrivacyLedger) -> dict[int, int]:
    """Return how many turns each client has paid for; all pay alike under central privacy."""
    if claim.privacy.is_central:
        return {0: len(ledger.charges)}
    paid: Counter[int] = Counter({client: 0 for client in range(claim.crowd.population)})
    for charge in ledger.charges:
        paid.update(charge.clients or ())
    return dict(paid)


def _most(claim: PrivacySpec, ledger: PrivacyLedger) -> int:
    """Return the turns of the client that has paid for most."""
    return max(_turns(claim, ledger).values())


def _spent(claim: PrivacySpec, ledger: PrivacyLedger) -> str:
    turns = _turns(claim, ledger)
    worst = max(turns, key=lambda client: (turns[client], -client))
    pld, rdp = claim.checked(turns[worst])
    both = f"epsilon {pld:.4g} (PLD), {rdp:.4g} (RDP)"
    if claim.privacy.is_central:
        return f"{both}, the same for every client; rounds paid for: {turns[worst]}"
    middle = statistics.median_high(turns.values())
    return (
        f"worst client {both} (client {worst}, turns: {turns[worst]}); "
        f"median client {claim.epsilon(middle):.4g} (turns: {middle})"
    )


def _budget(claim: PrivacySpec, ledger: PrivacyLedger) -> str:
    if claim.privacy.budget is None:
        return "none"
    limit = claim.privacy.budget.epsilon
    epsilon_spent = claim.epsilon(_most(claim, ledger))
    return f"epsilon {limit:g}, {limit - epsilon_spent:.4g} left"


def _rng(claim: PrivacySpec) -> str:
    if claim.privacy.rng == "secure":
        return (
            "the operating system's cryptographic generator; float64 on a grid; timing not hidden"
        )
    return "the scenario's seed (rng: simulation): repeatable, NOT a guarantee for a release"


def _not_covered(claim: PrivacySpec, scenario: Scenario) -> list[str]:
    privacy = claim.privacy
    gaps = ["choosing settings by runs on the same data", "the first weights, which are public"]
    if privacy.metrics == "simulation":
        gaps.append("clients' metrics in this folder: simulation only, never to be released")
    if privacy.unit == "client":
        gaps.append("that a client exists at all (the number of clients is public)")
    if claim.sample_rate < 1:
        gaps.append("who took part: cohorts and bytes in rounds.jsonl stay with the server")
    if privacy.unit == "record":
        gaps.append("clients as a whole: only single examples are hidden")
        gaps.append("whether a client holds any example at all")
    if scenario.references:
        gaps.append("the references, which train without privacy")
    if constants := _constants(scenario):
        gaps.append(f"constants of the training examples, taken without noise: {constants}")
    gaps.append("this folder itself: partition.json, clients' states in checkpoints, pictures")
    return gaps


def _constants(scenario: Scenario) -> str:
    """Return which constants of the data preprocessing and the task use."""
    is_public = isinstance(scenario.data.normalize, dict) or scenario.data.normalize is False
    parts = [] if is_public else ["mean and deviation of the inputs"]
    if scenario.task.parameters.get("standardise"):
        parts.append("mean and deviation of the targets")
    if scenario.task.parameters.get("class_weights") == "balanced":
        parts.append("numbers of examples of each class")
    return ", ".join(parts)


def as_markdown(statement: Statement) -> str:
    """Return the page as Markdown."""
    rows = "\n".join(f"| {label} | {text} |" for label, text in statement.lines)
    return f"# {statement.title}\n\n| | |\n|---|---|\n{rows}\n"


def as_html(statement: Statement) -> str:
    """Return the page as HTML: one file, no script, nothing loaded from elsewhere."""
    rows = "\n".join(
        f"<tr><th>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>"
        for label, text in statement.lines
    )
    title = html.escape(statement.title)
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:3rem auto;padding:0 1rem}"
        "th{text-align:left;vertical-align:top;padding:.4rem 1.5rem .4rem 0;white-space:nowrap}"
        "td{padding:.4rem 0}tr+tr{border-top:1px solid #ddd}table{border-collapse:collapse}"
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{style}</style>\n<h1>{title}</h1>\n<table>\n{rows}\n</table>\n</html>\n"
    )
