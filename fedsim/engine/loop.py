"""The rounds of a run, from where it stopped to its result."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from fedsim.data.federated import FederatedData
from fedsim.engine.domain_evaluation import evaluate_domains
from fedsim.engine.evaluation import SELECTED, SELECTED_ROUND, Evaluator
from fedsim.engine.experiment import Experiment
from fedsim.engine.references import reference
from fedsim.engine.result import targets_reached, weights_sha256
from fedsim.engine.round import RoundSetup, run_round
from fedsim.engine.setup import described
from fedsim.engine.transport import Transport
from fedsim.errors import BudgetSpent
from fedsim.flower.devices import Devices
from fedsim.flower.server_app import Grid
from fedsim.models._build import build, weights_of
from fedsim.models._check import check_model
from fedsim.plugins.registry import build as build_part
from fedsim.privacy.privacy_engine import PrivacyEngine
from fedsim.runlog import checkpoint, gallery, tables
from fedsim.runlog.checkpoint import Checkpoint
from fedsim.runlog.events import Note, ReferenceDone, Result, RoundDone, RoundRecord, Started, Watch
from fedsim.runlog.results import references_from
from fedsim.runlog.rounds import metrics_sha256
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.trace import write_trace
from fedsim.runtime.choose import backend_of
from fedsim.schema.scenario import Scenario
from fedsim.strategy import ReplySpec, ServerState
from fedsim.tasks._from_scenario import measures_of, task_of

__all__ = ["TrainingLoop"]


@dataclass(frozen=True)
class TrainingLoop:
    """A run's pieces, put together."""

    experiment: Experiment
    folder: RunFolder
    fed: RoundSetup
    judge: Evaluator
    watch: Watch
    guard: PrivacyEngine | None = None

    @classmethod
    def of(
        cls, experiment: Experiment, folder: RunFolder, grid: Grid | Devices, watch: Watch
    ) -> TrainingLoop:
        """Put the pieces together; ``grid`` leads to the clients, ``watch`` is told events."""
        scenario, data, strategy = experiment.scenario, experiment.data, experiment.strategy
        carrier = Transport(grid, strategy)
        task = task_of(scenario, data.targets)
        model = build(
            scenario.model, data.model_shape, task.outputs, scenario.seed, scenario.folder
        )
        check_model(model, data.model_shape, data.stored["inputs"].dtype.kind == "i", task)
        privacy = experiment.privacy
        guard = PrivacyEngine.of(privacy, folder.path, model) if privacy else None
        clients = scenario.clients
        fed = RoundSetup(
            seed=scenario.seed,
            clients=data.clients,
            sampler=guard.sampler()
            if guard
            else build_part("sampler", clients.sampler, scenario.folder),
            cohort_size=clients.per_round.of(len(data.clients), at_least=1),
            quorum=lambda cohort: clients.min_replies.of(cohort, at_least=1),
            strategy=strategy,
            carrier=carrier,
            model=model,
            release=guard.releaser(strategy) if guard else None,
            wanted=ReplySpec(data.shape, data.classes, scenario.local.parameters),
        )
        judge = Evaluator(scenario, data, carrier, model, measures_of(scenario, task))
        return cls(experiment, folder, fed, judge, watch, guard)

    @property
    def scenario(self) -> Scenario:
        """What is run."""
        return self.experiment.scenario

    @property
    def data(self) -> FederatedData:
        """Of all clients."""
        return self.experiment.data

    def play(self) -> Result:
        """Run what is left of the rounds, the references, and write the result."""
        state = self.fed.strategy.begin(weights_of(self.fed.model), self.data.clients)
        state, done = self._restored(state)
        self.folder.truncate_rounds(done)
        self._announce(done + 1)
        stopped = ""
        for number in range(done + 1, self.scenario.rounds + 1):
            before = state
            try:
                state, record = self._round(number, state)
            except BudgetSpent as spent:
                stopped = str(spent)
                break
            weights = self.fed.strategy.evaluate(state)
            state = self.judge.selected(before, state, weights)
            record, rows = self.judge.complete(record, weights)
            self.folder.append_clients(rows)
            self.folder.append_round(record)
            if number % self.scenario.checkpoint.every == 0 or number == self.scenario.rounds:
                self._save(number, state)
            self._draw(number, state)
            for note in self.fed.carrier.take_notes():
                self.watch(Note(note))
            self.watch(RoundDone(record))
        return self._finish(state, stopped)

    def _round(self, number: int, state: ServerState) -> tuple[ServerState, RoundRecord]:
        if self.guard is None:
            return run_round(number, state, self.fed)
        self.guard.before(number, state)
        state, record = run_round(number, state, self.fed)
        return state, self.guard.cleaned(record)

    def _restored(self, state: ServerState) -> tuple[ServerState, int]:
        restored, notes = checkpoint.newest(self.folder.checkpoints)
        for note in notes:
            self.watch(Note(note))
        if self.guard is not None:
            self.guard.verify(
                restored.plain.get("privacy") if restored else None, self.folder.rounds()
            )
        if restored is None:
            return state, 0
        aside = {int(client): why for client, why in restored.plain["set_aside"].items()}
        self.fed.carrier.restore(restored.clients, aside)
        state = replace(
            state,
            weights=restored.weights,
            memory=restored.memory,
            round=restored.round,
            plain=restored.server,
        )
        return state, restored.round

    def _save(self, number: int, state: ServerState) -> None:
        checkpoint.save(
            self.folder.checkpoints,
            Checkpoint(
                round=number,
                weights=state.weights,
                memory=state.memory,
                server=state.plain,
                clients=self.fed.carrier.memories,
                plain={
                    "set_aside": {str(k): why for k, why in self.fed.carrier.set_aside.items()},
                    "privacy": self.guard.plain if self.guard else None,
                },
            ),
            self.scenario.checkpoint.keep,
        )

    def _draw(self, number: int, state: ServerState) -> None:
        """Keep the strategy's tables, and a picture of the images that clients sent.

        Without privacy the nearest real ones are beside them: a simulation alone has them.
        """
        tables.append(self.folder.path, number, self.fed.strategy.tables(state))

        def real(client: int) -> tuple[torch.Tensor, torch.Tensor]:
            examples = self.data.train(client)
            return examples.inputs, examples.labels

        title = f"{self.scenario.name}, round {number}: what clients sent"
        beside = real if self.scenario.privacy is None and self.data.is_here else None
        if picture := gallery.draw(self.fed.strategy.pictures(state), beside, title):
            (self.folder.path / "pictures").mkdir(exist_ok=True)
            self.folder.write(f"pictures/round_{number:04d}.png", picture)

    def _announce(self, first_round: int) -> None:
        self.watch(described(self.scenario, self.data))
        self.watch(
            Started(
                scenario_name=self.scenario.name,
                strategy=self.scenario.strategy.use,
                clients=len(self.data.clients),
                rounds=self.scenario.rounds,
                backend=backend_of(self.scenario, self.data) if self.fed.carrier.ours else "flower",
                workers=self.fed.carrier.workers,
                folder=self.folder.path,
                metrics=self.folder.metrics(),
                first_round=first_round,
            )
        )
        for note in self.guard.notes if self.guard else ():
            self.watch(Note(note))
        for note in self.experiment.client.notes:
            self.watch(Note(note))

    def _references(self) -> dict[str, dict[str, float]]:
        """Return the references' metrics; each reference is kept as soon as it is known."""
        if self.scenario.references and self.fed.carrier.is_real:
            self.watch(Note("references are left to a simulation: no device holds all examples"))
            return {}
        computed = references_from(self.folder.read_json("references.json") or {})
        for name in self.scenario.references:
            if name not in computed:
                reference_done = reference(
                    name, self.fed.carrier, self.data.clients, self.scenario.rounds
                )
                computed[name] = dict(reference_done.metrics)
                self.folder.write("references.json", computed)
                self.watch(reference_done)
            else:
                self.watch(ReferenceDone(name, computed[name], "computed earlier"))
        return computed

    def _finish(self, state: ServerState, stopped: str) -> Result:
        write_trace(self.folder, state.round, self.fed.carrier.trace)
        weights = self.fed.strategy.evaluate(state)
        if SELECTED in state.memory:
            weights = state.memory[SELECTED]
            by, which = self.scenario.adapt.select, state.plain[SELECTED_ROUND]
            self.watch(Note(f"the result is the model of round {which}, chosen by {by}"))
        records = self.folder.rounds()
        result = Result(
            strategy=self.scenario.strategy.use,
            rounds=len(records),
            metrics=self.judge.on_server(weights),
            weights_sha256=weights_sha256(weights),
            references=self._references(),
            # Shares and means of the clients' targets are not for release.
            baseline=(self.judge.baseline() or {}) if self.guard is None else {},
            bytes_up=sum(record.bytes_up for record in records),
            bytes_down=sum(record.bytes_down for record in records),
            seconds=sum(record.seconds for record in records),
            targets=targets_reached(self.scenario.evaluation.targets, records, self.judge.measures),
            dropped=sum(len(record.dropped) for record in records),
            metrics_sha256=metrics_sha256(records),
            domains=self.judge.by_domain(weights),
            stopped=stopped,
        )
        if (domain_results := evaluate_domains(self.scenario, self.data, weights)) is not None:
            self.folder.write("domains.json", domain_results)
        self.folder.write_weights(weights)
        self.folder.write_result(result)
        return result
