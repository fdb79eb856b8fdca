"""``fedsim privacy``: plan, show, export and audit privacy guarantees."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsim.cli.formatting import spark
from fedsim.cli.options import File, Run, Set
from fedsim.cli.screen import Screen
from fedsim.errors import Fault, FedsimError, ScenarioError
from fedsim.runlog import files
from fedsim.runlog.run_folder import RunFolder

if TYPE_CHECKING:
    from fedsim.privacy.audit import AuditResult
    from fedsim.privacy.planning import PrivacyPlan
    from fedsim.privacy.privacy_spec import PrivacySpec
    from fedsim.privacy.statement import Statement
    from fedsim.schema.scenario import Scenario

__all__ = ["audit", "export", "plan", "show"]

Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="The file to write.", show_default=False)
]


def plan(
    file: File,
    epsilon: Annotated[float, typer.Option(min=1e-3, help="The target epsilon.")],
    sets: Set = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Also draw epsilon over the rounds, as .svg."),
    ] = None,
) -> None:
    """Compute the noise, the rounds or the cohort that a target epsilon needs."""
    from fedsim.scenario.load import load

    screen = Screen.current()
    scenario = load(file, sets or [])
    from fedsim.privacy.planning import curve_svg, plan_privacy

    privacy, population = scenario.privacy, _population(scenario)
    noisier = _claim(scenario, population, epsilon)
    planned = plan_privacy(_claim(scenario, population), noisier, epsilon)
    if screen.json:
        screen.dump(planned)
    else:
        for line in _wish_lines(planned, scenario):
            screen.say(line)
    if output is not None:
        delta = privacy.delta if privacy else 0.0
        files.write(output, curve_svg(planned.curve, f"epsilon at delta {delta:g}"))
        screen.note(f"drawn   {output}")
    screen.next(f"fedsim run {file} --set privacy.noise_multiplier={planned.noise_multiplier:g}")


def _wish_lines(planned: PrivacyPlan, scenario: Scenario) -> list[str]:
    privacy = scenario.privacy
    unit = privacy.unit if privacy else ""
    cohort, rounds = scenario.clients.per_round, scenario.rounds
    lines = [
        f"unit {unit}, delta {privacy.delta if privacy else 0:g}, "
        f"epsilon {planned.epsilon:g} takes one of"
    ]
    lines.append(
        f"  noise   {planned.noise_multiplier:g} times the clip, for {rounds} rounds of {cohort}"
    )
    if privacy is not None and privacy.noise_multiplier is not None:
        noise = f"at noise {privacy.noise_multiplier:g}"
        lines.append(f"  rounds  {planned.rounds or 'not even one'}, {noise}, cohort {cohort}")
        buys = planned.cohort or "no smaller one would do"
        lines.append(f"  cohort  {buys}, {noise}, {rounds} rounds")
        lines.append(f"as it is, all rounds come to epsilon {planned.now:.4g}")
    curve = spark([epsilon for _, epsilon in planned.curve])
    turns, last = planned.curve[-1]
    lines.append(f"curve   {planned.curve[0][1]:.3g} {curve} {last:.3g}  over {turns} turns")
    return lines


def show(run: Run) -> None:
    """Show a run's privacy guarantee and the budget spent, from its ledger."""
    screen = Screen.current()
    statement = _statement(run)
    if screen.json:
        return screen.dump(dict(statement.lines))
    for label, text in statement.lines:
        screen.say(f"{label:13} {text}")
    return screen.next(f"fedsim privacy export {run} -o statement.html")


def export(run: Run, output: Output = None) -> None:
    """Write a privacy statement as .html or .md; without -o, Markdown to stdout."""
    from fedsim.privacy.statement import as_html, as_markdown

    screen = Screen.current()
    statement = _statement(run)
    if output is None:
        return screen.out.out(as_markdown(statement), highlight=False, end="")
    is_html = output.suffix == ".html"
    if not is_html and output.suffix != ".md":
        raise typer.BadParameter(f"{output} should end in .html or .md")
    files.write(output, (as_html if is_html else as_markdown)(statement))
    screen.note(f"written {output}")
    return None


def audit(
    file: File,
    sets: Set = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Releases; the scenario's rounds.", show_default=False)
    ] = None,
    canaries: Annotated[
        int, typer.Option(min=32, help="The number of canaries: clients, or records of one client.")
    ] = 1000,
) -> None:
    """Measure a lower bound of epsilon with canaries and compare it with the claim."""
    from fedsim.scenario.load import load

    screen = Screen.current()
    scenario = load(file, sets or [])
    claim, find = _audited(scenario)
    result = find(rounds or scenario.rounds, canaries)
    if screen.json:
        screen.dump(result)
    else:
        screen.say(
            f"claimed  epsilon {result.claimed:.4g} at delta {claim.privacy.delta:g}, "
            f"{claim.relation}, {result.rounds} rounds"
        )
        screen.say(
            f"found    at least {result.lower:.4g}, with confidence {result.confidence:.0%}, "
            f"by {result.canaries} canaries in one run"
        )
        screen.say(f"control  at least {result.control:.4g} where the noise is left out")
        if result.control <= result.claimed:
            screen.say(
                "even without noise the bound is below the claim, so this audit shows nothing; "
                "try fewer rounds, more canaries or a smaller delta"
            )
    if result.is_broken:
        raise FedsimError(f"the claim is broken: epsilon is at least {result.lower:.4g}")


def _audited(scenario: Scenario) -> tuple[PrivacySpec, Callable[[int, int], AuditResult]]:
    """Return the scenario's claim, and its audit of so many rounds by so many canaries."""
    from fedsim.data.federated import prepare
    from fedsim.models._scenario_model import scenario_model
    from fedsim.models._state import weights_of
    from fedsim.privacy.audit import audit
    from fedsim.privacy.privacy_spec import privacy_spec_of
    from fedsim.tasks._from_scenario import task_of

    with tempfile.TemporaryDirectory(prefix="fedsim-") as store:
        data = prepare(scenario, Path(store, "data"))
        claim = privacy_spec_of(
            scenario, len(data.clients), sum(client.examples for client in data.clients)
        )
        outputs = task_of(scenario, data.targets).outputs
        model = scenario_model(scenario, data.shape, outputs)
    if claim.half is not None:
        from fedsim.privacy.audit_records import audit_records, auditable

        if not auditable(claim.half):
            half = type(claim.half).__name__
            message = (
                f"{half} cannot be audited: the audit works on weights and synthetic images only"
            )
            raise ScenarioError([Fault(scenario.name, 0, 0, "local", message)])
        return claim, lambda turns, canaries: audit_records(claim, turns, canaries)
    if not claim.privacy.is_central:
        message = "local cannot be audited: the server sees each client's reply separately"
        raise ScenarioError([Fault(scenario.name, 0, 0, "privacy.placement", message)])
    weights = weights_of(model)
    return claim, lambda rounds, canaries: audit(claim, weights, rounds, canaries)


def _population(scenario: Scenario) -> int:
    if scenario.clients.count is not None:
        return scenario.clients.count
    from fedsim.data.federated import prepare

    with tempfile.TemporaryDirectory(prefix="fedsim-") as store:
        return len(prepare(scenario, Path(store, "data")).clients)


def _claim(scenario: Scenario, population: int, epsilon: float | None = None) -> PrivacySpec:
    """Return the scenario's claim without its budget, or with the noise that ``epsilon`` takes."""
    from fedsim.privacy.privacy_spec import privacy_spec_of
    from fedsim.schema.privacy import Budget

    changes: dict[str, object] = {"budget": None}
    if epsilon is not None:
        changes = {"noise_multiplier": None, "budget": Budget(epsilon=epsilon)}
    privacy = scenario.privacy and scenario.privacy.model_copy(update=changes)
    return privacy_spec_of(scenario.model_copy(update={"privacy": privacy}), population)


def _statement(run: Path) -> Statement:
    from fedsim.privacy.statement import statement_of
    from fedsim.scenario.load import load

    folder = RunFolder.open(run)
    return statement_of(folder, load(folder.scenario))
