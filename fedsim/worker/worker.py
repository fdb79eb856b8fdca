"""One client's turn, the same wherever it runs: in process, in a Ray actor, on a device."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from fedsim.client import Client, Examples, StackedClient, Unlabelled
from fedsim.data.federated import FederatedData
from fedsim.data.resident import Resident
from fedsim.errors import RunError
from fedsim.messages import LowRankResidual
from fedsim.models._passes import Passes, adapt, warm_up
from fedsim.models._scenario_model import scenario_model
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.tasks._from_scenario import measures_of, task_of
from fedsim.wire import Broadcast, ClientId, ClientInfo, Instruction, Update, Weights
from fedsim.worker.allocator import keep_freed_memory
from fedsim.worker.fresh_model import FreshModel
from fedsim.worker.score import Score, score
from fedsim.worker.validation_part import validation_part

if TYPE_CHECKING:
    from fedsim.schema.scenario import Scenario

__all__ = ["ORACLE", "POOL", "Worker"]

POOL: ClientId = -1
"""The number of the imagined client that holds every source's examples."""

ORACLE: ClientId = -2
"""That of the one that holds the targets' too, labels and all: a bound, no method."""

Held = TypeVar("Held", Examples, Unlabelled, Examples | Unlabelled)


class Worker:
    """Holds what all turns of a run share: the data, one model, the local update rule."""

    def __init__(
        self,
        scenario: Scenario,
        data: FederatedData,
        client: Client,
        device: str = "cpu",
        compiled: bool = False,
    ) -> None:
        """Build the model.

        Args:
            scenario: the run's.
            data: of all clients.
            client: what each does in its turn.
            device: where.
            compiled: whether local steps run as compiled code.

        Raises:
            RunError: if they cannot.
        """
        keep_freed_memory()
        self.data = data
        self._seed = scenario.seed
        self.client = client
        self._device = torch.device(device)
        is_resident = self._device.type == "cuda" and isinstance(data.model_shape, tuple)
        self._resident = Resident(data, self._device) if is_resident else None
        self.notes: list[str] = []
        """What a user should know; whoever passes it on empties it."""
        self.measures = measures_of(scenario, task_of(scenario, data.targets))
        if data.has_weights and (client.tasks or not client.heeds_weights):
            name = type(client).__name__
            raise RunError(f"data.source.weight: {name} counts every example the same")
        outputs = self.measures.task.outputs
        self.model = scenario_model(scenario, data.model_shape, outputs).to(self._device)
        # Batches of one size alone are worth compiling for.
        batch = client.fixed_batch_size if compiled else None
        self.passes = Passes(scenario.compute.precision == "bf16", batch)
        adapt(self.model, self.passes)
        self._fresh = FreshModel(self.model)
        if self.passes.compiled:
            self._compile((self.passes.compiled, *data.shape))

    def _compile(self, shape: tuple[int, ...]) -> None:
        """Compile now, not in the time of the first client's turn."""
        try:
            with torch_defaults(self._seed, "compiling"):
                warm_up(self._fresh.loaded({}), shape)
        except Exception as error:  # of many kinds, PyTorch's own
            text = " ".join(str(error).split())[:300]
            raise RunError(f"compute.compile: PyTorch cannot compile here: {text}") from error

    @property
    def initial(self) -> Weights:
        """The weights of a run before round 1: a function of the scenario alone."""
        return self._fresh.initial

    def turn(self, instruction: Instruction) -> Update:
        """Return the update of ``instruction``'s client.

        Whatever the local update rule did to the model is undone before the next turn.

        Raises:
            AttributeError: if the local update rule has no verb of the phase's name.
            RunError: if that method returns something else than an update.
        """
        verb = getattr(self.client, instruction.phase)
        here = self._here(instruction)
        examples = self._examples(instruction.client.id)
        weights = _loaded_by(here.broadcast)
        model = self._fresh.loaded(weights)
        update = verb(model, examples, here, self._draws(instruction))
        if not isinstance(update, Update):
            rule = f"{type(self.client).__name__}.{instruction.phase}"
            raise RunError(f"{rule} returned {type(update).__name__}, not an Update")
        self._fresh.check_constant(weights)
        return update

    def has_together(self, phase: str) -> bool:
        """Return whether several clients can take a turn of ``phase`` in the same steps."""
        return self.client.together(phase) is not None

    def turns(self, instructions: Sequence[Instruction]) -> list[Update]:
        """Return the updates of clients that take one turn in the same steps.

        Where the GPU has no room for all of them, they take it in halves.

        Args:
            instructions: of one round and phase, all with the same broadcast.

        Raises:
            RunError: if the local update rule has no verb for that, or the model cannot be stacked.
            OutOfMemoryError: of PyTorch's, if there is no room for a single one.
        """
        try:
            return self.stack(instructions)
        except torch.OutOfMemoryError:
            if len(instructions) == 1:
                raise
        # Not in the except block: its error holds on to the stack that did not fit.
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        half = len(instructions) // 2
        count = len(instructions)
        self.notes.append(f"no room on the GPU for {count} clients together: {half} at a time")
        return self.turns(instructions[:half]) + self.turns(instructions[half:])

    def stack(self, instructions: Sequence[Instruction]) -> list[Update]:
        """Return what :meth:`turns` does, for all of ``instructions`` at once."""
        verb = self.client.together(instructions[0].phase)
        if verb is None:
            raise RunError(f"{type(self.client).__name__} trains one client at a time")
        here = [self._here(instruction) for instruction in instructions]
        # As with one client, those without labels are refused when somebody asks for a label.
        examples = [cast(Examples, self._examples(instruction.client.id)) for instruction in here]
        members = [
            StackedClient(client_examples, instruction, self._draws(instruction))
            for client_examples, instruction in zip(examples, here, strict=True)
        ]
        return verb(self._fresh.loaded(here[0].broadcast.weights), members)

    def _draws(self, instruction: Instruction) -> torch.Generator:
        where = zlib.crc32(instruction.phase.encode())
        return torch_stream(self._seed, "client", instruction.round, instruction.client.id, where)

    def score(self, client: ClientId, weights: Weights, part: str) -> Score:
        """Return how good ``weights`` are on a client's ``val`` or ``test`` part."""
        examples = self.data.part(client, "val" if part == "val" else "test")
        return score(self._fresh.loaded(weights), self._placed(examples), self.measures)

    def reference(self, client: ClientId, rounds: int) -> Score:
        """Return how far ``client`` gets alone, judged on the server's test set.

        The local update rule trains for as many rounds as the federation does, with nobody to talk
        to; :data:`POOL` holds all that may be trained on and so gives the centralized reference.
        """
        weights = self._tensors(self.initial)
        examples = self._examples(client)
        info, train = ClientInfo(client, len(examples)), cast(Any, self.client).train
        memory: Mapping[str, Weights] = {}
        for number in range(1, rounds + 1):
            generator = torch_stream(self._seed, "reference", number, max(client - POOL, 0))
            instruction = Instruction(number, "train", info, Broadcast(weights), memory)
            # A rule that needs labels is refused them by the type of a target's examples.
            update = train(self._fresh.loaded(weights), examples, instruction, generator)
            weights = {name: tensor + update.delta[name] for name, tensor in weights.items()}
            memory = update.memory
        test = self._placed(self.data.server_test())
        return score(self._fresh.loaded(weights), test, self.measures)

    def _examples(self, client: ClientId) -> Examples | Unlabelled:
        examples: Examples | Unlabelled
        if client in (POOL, ORACLE):
            examples = self._placed(self.data.pooled(targets=client == ORACLE))
        elif self._resident is not None:
            examples = self._resident.train(client)
        else:
            examples = self._placed(self.data.train(client))
        if isinstance(examples, Unlabelled):
            return examples
        task, validation = self.measures.task, None
        if self.client.needs_validation:
            validation = replace(validation_part(self.data, client), task=task)
        return replace(examples, task=task, validation=validation)

    def _placed(self, examples: Held) -> Held:
        return examples if self._device.type == "cpu" else examples.to(self._device)

    def _here(self, instruction: Instruction) -> Instruction:
        """Return ``instruction`` with its tensors on this worker's device."""
        if self._device.type == "cpu":
            return instruction
        broadcast = instruction.broadcast
        weights, extras = self._tensors(broadcast.weights), self._nested(broadcast.extras)
        on_device = replace(broadcast, weights=weights, extras=extras)
        return replace(instruction, broadcast=on_device, memory=self._nested(instruction.memory))

    def _nested(self, values: Mapping[str, Weights]) -> dict[str, Weights]:
        return {name: self._tensors(value) for name, value in values.items()}

    def _tensors(self, weights: Weights) -> Weights:
        return {name: tensor.to(self._device) for name, tensor in weights.items()}


def _loaded_by(broadcast: Broadcast) -> Weights:
    """Return the weights that a turn begins with: what was sent, and what the server added."""
    # Nothing is looked up where nothing was sent: a small client's turn takes 0.1 ms.
    if not broadcast.extras or not LowRankResidual.is_in(broadcast):
        return broadcast.weights
    return broadcast.weights | LowRankResidual.from_broadcast(broadcast).low_rank_residual
