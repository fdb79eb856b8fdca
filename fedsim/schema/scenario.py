"""What a scenario may say: every key, its type, its default and one sentence about it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt
from pydantic import Field, PrivateAttr, StringConstraints, ValidationInfo, model_validator

from fedsim.schema.adapt import Adapt
from fedsim.schema.count_or_share import Amount, Cohort, CountOrShare, Share
from fedsim.schema.evaluation_plan import Evaluation, Texts
from fedsim.schema.finetune import FineTune
from fedsim.schema.part import Part, Section
from fedsim.schema.privacy import Privacy
from fedsim.schema.public_scale import PublicScale
from fedsim.schema.wording import Wording

__all__ = [
    "PARTS",
    "CheckpointPolicy",
    "Clients",
    "Compute",
    "DataSection",
    "Evaluation",
    "Holdout",
    "Output",
    "Scenario",
]

PARTS: dict[tuple[str, ...], str] = {
    ("data", "source"): "source",
    ("task",): "task",
    ("data", "partition"): "partition",
    ("data", "feature_shift"): "shift",
    ("model",): "model",
    ("clients", "sampler"): "sampler",
    ("local",): "client",
    ("strategy",): "strategy",
}
"""Where a scenario names a plug-in, and of which kind."""

Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$(?!\n)"),
    Wording("a name of at most 100 letters, digits and . _ - that starts with no . or -"),
]
Folder = Annotated[
    str,
    StringConstraints(
        pattern=r"^(?![/\\~])(?!.*(^|[/\\])\.\.([/\\]|$))[^\x00-\x1f:]{1,250}$(?!\n)"
    ),
    Wording("a relative path that stays inside the folder it starts from"),
]
Address = Annotated[
    str,
    StringConstraints(pattern=r"^(auto|(ray://)?[^\s/:]+:\d{1,5})$(?!\n)"),
    Wording("auto, host:port or ray://host:port"),
]
Count = Annotated[int, Ge(1)]


class Holdout(Section):
    """Which part of the examples is kept from training."""

    server_test: Share = CountOrShare("20%")
    """The server's test set, used only where the source has no test split of its own."""
    client_val: Share = CountOrShare("0%")
    """What each client keeps for validation."""
    client_test: Share = CountOrShare("0%")
    """What each client keeps for tests of its own."""


class DataSection(Section):
    """Where the examples come from and how they are partitioned."""

    source: Part
    """What gives the examples: `digits`, `npz:PATH`, `csv:PATH`, `folder:PATH`, `hf:REPO`, ..."""
    partition: Part = Part(use="iid")
    """How the examples are split among the clients."""
    feature_shift: Part | None = None
    """What changes the inputs from client to client: noise, rotation, ..."""
    holdout: Holdout = Holdout()
    """Which part of the examples is kept from training."""
    normalize: Annotated[
        bool | Literal["clients", "each"] | PublicScale,
        Wording("true, false, clients, each or a mapping with mean and std"),
    ] = True
    """Subtract a mean and divide by a standard deviation: those of all training parts pooled
    (true), summed by the clients, each client's own, or public constants {mean, std}."""


class Clients(Section):
    """How many clients there are and who takes part in a round."""

    count: Count | None = None
    """How many clients there are; null: as many as a natural partition has."""
    per_round: Cohort = CountOrShare("all")
    """How many take part in a round: a count (10), a percentage (10%) or all."""
    sampler: Part = Part(use="uniform")
    """Who takes part in a round."""
    min_replies: Amount = CountOrShare(1)
    """With fewer replies than this (a count, or a percentage of the cohort) the run stops."""
    deadline_s: Annotated[float, Gt(0)] | None = None
    """Seconds that one client's work in a round may take; null: no limit."""


class Compute(Section):
    """Which machines, processors and GPUs the run uses."""

    backend: Literal["auto", "local", "ray"] = "auto"
    """Where the clients run: in this process, on Ray, or whichever suits the machine."""
    address: Address | None = None
    """A Ray cluster to join; null: this machine."""
    workers: Literal["auto"] | Count = "auto"
    """How many clients run side by side."""
    chunk: Literal["auto"] | Count = "auto"
    """How many clients a worker is given at a time."""
    cohort: Literal["auto", "off"] | Count = "off"
    """How many clients train in the same steps, stacked, where model and local update rule allow
    it: faster for small models, equal up to rounding; auto: what a short trial here finds best."""
    repeatable: Literal["here", "anywhere"] = "here"
    """Where results repeat bit by bit: on machines with the same processor, or on any x86-64
    processor with AVX2, whose kernels are then used even where there are faster ones."""
    precision: Literal["float32", "bf16"] = "float32"
    """What the local steps multiply in; with bf16 results differ from float32's, not only in the
    last bits, while weights, sums and updates stay float32 and clients train one by one."""
    compile: Literal["off", "on", "auto"] = "off"
    """Whether the local steps run as code that PyTorch compiles here, equal up to rounding, where
    clients train one by one; auto: if the run is long enough to repay the compiling."""
    gpus_per_worker: Literal["auto"] | Annotated[float, Ge(0)] = "auto"
    """GPUs that one worker holds; may be a fraction."""


class CheckpointPolicy(Section):
    """What is kept so that a run can be resumed."""

    every: Count = 1
    """Rounds between checkpoints."""
    keep: Count = 2
    """How many checkpoints are kept."""


class Output(Section):
    """Where results go."""

    dir: Folder = "runs"
    """The folder under which each run gets a folder of its own."""


class Scenario(Section):
    """One experiment, complete."""

    schema_: Literal["fedsim/1"] = Field("fedsim/1", alias="schema")
    """The version of this format."""
    kind: Literal["scenario"] = "scenario"
    """A scenario is one experiment."""
    name: Name = "scenario"
    """What the run is called; by default the name of the file."""
    description: str = ""
    """A sentence or two on the experiment, for those who read its reports."""
    tags: Texts = ()
    """Words to find the run by."""
    extends: str | None = None
    """One parent that this file changes: a path relative to this file, or preset:NAME."""
    seed: Annotated[int, Ge(0)] = 1
    """Every random draw comes from this number."""
    rounds: Count
    """How many rounds are run."""
    data: DataSection
    """Where the examples come from and how they are partitioned."""
    task: Part = Part(use="classification")
    """What there is to learn: the loss, what a model returns, what is measured; by default what
    the source says, else classification."""
    model: Part
    """What is trained."""
    finetune: FineTune | None = None
    """The weights to start from, and which parts of the model are trained; null: all, from the
    seed."""
    clients: Clients = Clients()
    """How many clients there are and who takes part in a round."""
    local: Part = Part(use="sgd")
    """What a client does in a round; its name may be left out, because the strategy names one."""
    strategy: Part
    """What the server does with the clients' updates."""
    privacy: Privacy | None = None
    """The privacy guarantee for the clients' data: unit, noise and budget; null: none."""
    adapt: Adapt = Adapt()
    """Where there are target domains: which round's model is the result."""
    evaluation: Evaluation = Evaluation()
    """When the model is evaluated, and on what."""
    references: Annotated[
        tuple[Literal["centralized", "local", "oracle"], ...], Field(strict=False)
    ] = ()
    """What the result is compared with: training on pooled data, each client alone, and an
    oracle that is given the targets' labels too."""
    compute: Compute = Compute()
    """Which machines, processors and GPUs the run uses."""
    checkpoint: CheckpointPolicy = CheckpointPolicy()
    """What is kept so that a run can be resumed."""
    tracking: Texts = ()
    """Where rounds are reported besides the run's folder: tensorboard, mlflow, wandb, or your
    own as package.module:Class or ./file.py:Class."""
    output: Output = Output()
    """Where results go."""

    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="after")
    def _remember_folder(self, info: ValidationInfo) -> Scenario:
        if info.context:
            self._folder = info.context["folder"]
        return self

    @property
    def folder(self) -> Path:
        """The file's folder; relative paths that are not resolved yet start here."""
        return self._folder

    def resolved(self) -> dict[str, Any]:
        """Return the scenario with nothing implicit left, as plain values.

        Written with :func:`fedsim.scenario.yaml_file.dump` and loaded from any other folder it
        is an equal scenario.
        """
        return self.model_dump(mode="json", by_alias=True) | {"extends": None}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scenario) and self.resolved() == other.resolved()

    __hash__ = None  # type: ignore[assignment]
