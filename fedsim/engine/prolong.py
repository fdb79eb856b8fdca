"""More rounds for a run: the same bits as with that many from the start, or a refusal.

What depends on how many rounds there are is the evaluation of the last one, the references, a
schedule that ends with the rounds, and a promise of privacy.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from fedsim.engine.setup import opened
from fedsim.errors import FedsimError, RunFolderError
from fedsim.plugins import registry
from fedsim.privacy.privacy_spec import PrivacySpec, settle_privacy
from fedsim.runlog.manifest import prolonged_manifest
from fedsim.runlog.run_folder import BEST, MODEL, RunFolder
from fedsim.runlog.study_ledger import LEDGER
from fedsim.runtime.compiling import COMPILED
from fedsim.scenario.load import load
from fedsim.scenario.yaml_file import dump
from fedsim.schema.part import Part, nested_kind
from fedsim.schema.scenario import Scenario

__all__ = ["longer", "longer_scenario", "prolong"]

_STEPS = 3
"""Steps of a turn at which two schedules are compared; one over rounds is constant in a turn."""


def prolong(
    folder: RunFolder, rounds: int, command: Sequence[str], with_study: bool = False
) -> list[str]:
    """Let the run in ``folder`` have ``rounds`` rounds; the next resume makes those that are left.

    It becomes an interrupted run: its result, its final weights, and references that trained for
    as many rounds as it had, are removed.  A run that has as many already stays as it is.

    Args:
        folder: of a run; the caller holds its lock.
        rounds: how many it is to have in all.
        command: the command line, without the program, for the manifest.
        with_study: whether the study's other cells are given as many.

    Returns:
        What a user should know.

    Raises:
        RunFolderError: as :func:`longer`.
    """
    scenario = load(folder.scenario)
    if rounds == scenario.rounds:
        return []
    if not with_study:
        _refuse_cell(folder)
    text = dump(longer(folder, rounds).resolved())
    notes = [f"{scenario.rounds} rounds become {rounds}"]
    if scenario.compute.compile == "auto" and folder.read_json(COMPILED):
        notes.append(f"whether local steps are compiled was settled for {scenario.rounds} rounds")
    if result := folder.result():
        folder.log(f"after {result.rounds} rounds weights_sha256 was {result.weights_sha256}")
    # In this order a run that is killed in between is still the shorter one, or is the longer one.
    for name in ("result.json", "references.json", MODEL, BEST):
        (folder.path / name).unlink(missing_ok=True)
    if written := folder.read_json("manifest.json"):  # None: killed before its data was dealt
        span = (scenario.rounds, rounds)
        folder.write("manifest.json", prolonged_manifest(written, text, span, command))
    folder.write(folder.scenario.name, text)
    return notes


def longer(folder: RunFolder, rounds: int) -> Scenario:
    """Return the scenario of a run with more rounds; nothing is changed.

    Raises:
        RunFolderError: if the run has more rounds already, is on devices, or would not be the run
            that it had been with so many rounds from the start.
    """
    scenario = load(folder.scenario)
    _check_folder(folder, scenario, rounds)
    longer = longer_scenario(folder.scenario, rounds)
    try:
        _check_privacy(folder, longer, scenario.rounds)
    except FedsimError:
        shutil.rmtree(folder.store, ignore_errors=True)  # Dealt again to count the units.
        raise
    return longer


def longer_scenario(file: Path, rounds: int) -> Scenario:
    """Return the scenario in ``file`` with more rounds, and schedules as long as they are.

    Raises:
        RunFolderError: if a schedule would have had other step sizes in the rounds so far.
    """
    names = _schedules(load(file), rounds)
    return load(file, [f"rounds={rounds}", *(f"local.{name}.length={rounds}" for name in names)])


def _refuse_cell(folder: RunFolder) -> None:
    study = folder.path.resolve().parent.parent
    if folder.path.resolve().parent.name == "cells" and (study / LEDGER).is_file():
        raise RunFolderError(
            f"{folder.path} is a cell of the study {study.name}, whose cells are compared after "
            f"the same rounds; all of them: fedsim resume {folder.path.parent.parent} --set "
            "rounds=N"
        )


def _check_folder(folder: RunFolder, scenario: Scenario, rounds: int) -> None:
    if rounds < scenario.rounds:
        raise RunFolderError(
            f"{folder.path} has {scenario.rounds} rounds, and {len(folder.rounds())} are done: "
            f"rounds can only be raised; a shorter run is a new one: fedsim run {folder.scenario} "
            f"--set rounds={rounds}"
        )
    if (folder.path / "devices.json").exists():
        raise RunFolderError(f"{folder.path} ran on devices: start a new run with more rounds")


def _schedules(scenario: Scenario, rounds: int) -> list[str]:
    """Return the schedules of ``local`` whose length goes with the rounds.

    Raises:
        RunFolderError: if one would have had other step sizes in the rounds so far.
    """
    local, going = scenario.local, []
    for name, parameter in registry.describe("client", local.use).parameters.items():
        plain = local.parameters.get(name)
        if nested_kind(parameter.type) != "schedule" or not isinstance(plain, dict):
            continue
        if plain.get("length") != scenario.rounds:
            continue
        before, after = (
            registry.build("schedule", Part.model_validate({**plain, "length": length}))
            for length in (scenario.rounds, rounds)
        )
        for number in range(1, scenario.rounds + 1):
            if before.factors(number, _STEPS) != after.factors(number, _STEPS):
                raise RunFolderError(
                    f"local.{name}: {plain['use']} ends with round {scenario.rounds}: with "
                    f"{rounds} rounds the steps would have had other sizes from round {number} "
                    f"on; start a new run, with local.{name}.length if it shall end there"
                )
        going.append(name)
    return going


def _check_privacy(folder: RunFolder, longer: Scenario, before: int) -> None:
    """Refuse rounds that the promise of privacy with which the run began does not cover."""
    privacy, rounds = longer.privacy, longer.rounds
    if privacy is None:
        return
    new = f"start a new run with {rounds} rounds"
    if privacy.noise_multiplier is None:
        raise RunFolderError(
            f"the noise of {folder.path} was worked out for {before} rounds; {new}"
        )
    claim = settle_privacy(longer, opened(longer, folder, ()).clients)[1]
    if claim is None:
        return
    epsilon = _epsilon_text(claim)
    if privacy.budget is None:
        raise RunFolderError(
            f"the promise of {folder.path} was made for {before} rounds, and {rounds} would come "
            f"to {epsilon}; {new}, or a budget"
        )
    if claim.affordable(claim.most_turns()) < claim.most_turns():
        raise RunFolderError(
            f"the budget of {folder.path} is epsilon {privacy.budget.epsilon:g}, and {rounds} "
            f"rounds would come to {epsilon}: fewer rounds, or a new run"
        )


def _epsilon_text(claim: PrivacySpec) -> str:
    return f"epsilon {claim.epsilon(claim.most_turns()):.4g} at delta {claim.privacy.delta:g}"
