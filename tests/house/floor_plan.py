"""The floor plan: every room, what it is for, on which floor it stands, and what it may import.

``python -m tests.house.floor_plan`` writes it into ``docs/architecture.md``: a test compares.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- floor plan -->", "<!-- end of floor plan -->"


@dataclass(frozen=True)
class Room:
    """A package or a top-level module of fedsim."""

    purpose: str
    """Half a sentence."""
    imports: frozenset[str] = field(default_factory=frozenset)
    """The rooms that it imports, at the top, inside functions or for types alone."""


def room(purpose: str, imports: str = "") -> Room:
    return Room(purpose, frozenset(imports.split()))


# From the ground up; a room imports rooms of lower floors alone.
FLOORS: list[dict[str, Room]] = [
    {
        "errors": room("every error, with place and remedy"),
        "metrics": room("metrics as functions of sums, so that every pooling is exact"),
        "limbs": room("vectors of floats as two integers a number"),
        "named_tensors": room("inputs that are several tensors, indexed by example as one is"),
        "schema": room("the types of a scenario file: every key, its type and its default"),
        "seeds": room("one root seed, named streams of random numbers"),
        "wire": room("what crosses between server and clients: frozen values, no behaviour"),
    },
    {
        "cohort": room("who takes part in a round", "seeds"),
        "kernels": room("which float kernels compute, pinned before they are used", "errors"),
        "plugins": room(
            "from a name in a scenario to a class; what its source tells without importing it",
            "errors schema",
        ),
        "optimizers": room(
            "optimisers of local training by one contract, schedules of their step size",
            "errors wire",
        ),
        "augmentations": room(
            "random changes of training examples, a draw for each", "errors seeds"
        ),
        "messages": room("typed messages between the two sides of an algorithm", "errors wire"),
        "task": room("the contract of a learning task: its loss, what is measured", "metrics"),
        "term_buffer": room("one client's term on its way into an exact sum", "wire"),
    },
    {
        "tasks": room(
            "the shelf of learning tasks; what is measured of a model",
            "errors metrics plugins schema task",
        ),
    },
    {
        "client": room("the contract of a local update rule", "errors task tasks wire"),
    },
    {
        "data": room(
            "sources, partitions, shifts, and whose examples are whose",
            "client errors named_tensors plugins schema seeds task wire",
        ),
        "exact_sum": room("sums of floats that no order can change", "limbs term_buffer wire"),
        "models": room(
            "reference models, each `features(x)` and `head(z)`",
            "errors named_tensors plugins schema seeds task wire",
        ),
        "runlog": room(
            "what a run writes and reads back: rounds, checkpoints, manifest, ledger of a study",
            "errors kernels wire",
        ),
    },
    {
        "adapt": room(
            "the mathematics of domain adaptation", "client errors messages models seeds wire"
        ),
        "aggregate": room("means, medians and trimmed means of updates", "exact_sum wire"),
        "analysis": room(
            "what is computed from finished runs: comparisons, statistics",
            "errors plugins runlog seeds",
        ),
        "stacked": room(
            "several clients trained in the same steps",
            "client errors models optimizers task tasks wire",
        ),
        "worker": room(
            "one client's work, the same wherever it runs; its reply looked at",
            "client data errors messages metrics models schema seeds tasks wire",
        ),
    },
    {
        "report": room(
            "the page that compares runs, and its figures", "analysis errors runlog wire"
        ),
        "strategy": room("the contract of a server's update rule", "aggregate errors wire"),
    },
    {
        "exact_low_rank": room("low-rank adapters averaged exactly", "messages strategy wire"),
        "privacy": room(
            "clipping and noise, a scenario's guarantee, the accountant, the ledger, the audits",
            "aggregate client cohort errors models plugins runlog schema seeds strategy wire",
        ),
    },
    {
        "flower": room(
            "messages, the ClientApp, adapters both ways; Flower stays in here",
            "aggregate client cohort errors exact_low_rank metrics plugins privacy schema seeds "
            "strategy wire worker",
        ),
        "per_sample": room(
            "gradients of single examples, clipped and summed",
            "client errors privacy seeds stacked task tasks wire",
        ),
        "scenario": room(
            "reading a file: inheritance, rules between keys, faults with their places",
            "client errors kernels plugins privacy schema",
        ),
    },
    {
        "condense": room(
            "the mathematics of FedDM: small synthetic sets",
            "client optimizers messages models per_sample privacy seeds strategy wire",
        ),
        "runtime": room(
            "where clients run: in this process or in Ray actors, scheduling, data shipping",
            "aggregate data errors flower kernels schema strategy wire worker",
        ),
    },
    {
        "clients": room(
            "the shelf of local update rules",
            "adapt augmentations client condense errors optimizers messages models per_sample "
            "privacy schema seeds stacked task wire",
        ),
        "engine": room(
            "a run: setup, rounds, evaluation, references, result",
            "adapt aggregate client cohort data errors flower kernels metrics models plugins "
            "privacy runlog runtime scenario schema seeds strategy task tasks wire worker",
        ),
        "strategies": room(
            "the shelf of server update rules",
            "adapt aggregate condense errors optimizers messages models seeds strategy wire",
        ),
    },
    {
        "edge": room(
            "real devices: a federation's folder, the gate, joining, driving a run on them",
            "data engine errors flower kernels models plugins privacy runlog scenario "
            "schema seeds strategy task tasks wire worker",
        ),
        "export": room(
            "trained models on their way out, with their preprocessing",
            "data errors models named_tensors plugins runlog scenario task",
        ),
        "study": room(
            "a study's cells, run once each by workers of their own",
            "analysis engine errors privacy runlog runtime scenario schema seeds",
        ),
    },
    {
        "cli": room(
            "the commands",
            "analysis data edge engine errors export models plugins privacy report runlog runtime "
            "scenario schema study tasks",
        ),
    },
    {
        "python_api": room(
            "run, resume, study and load from Python",
            "analysis engine errors export models runlog scenario schema study",
        ),
        "__main__": room("`python -m fedsim`", "cli"),
    },
]

ROOMS: dict[str, Room] = {name: room for floor in FLOORS for name, room in floor.items()}


def drawn() -> str:
    """Return the plan as Markdown: the highest floor first."""
    rows = ["| floor | room | what it is | imports |", "|---|---|---|---|"]
    for number, floor in reversed(list(enumerate(FLOORS))):
        for name, place in sorted(floor.items()):
            if name != "__main__":
                below = " ".join(sorted(place.imports)) or "-"
                rows.append(f"| {number} | `{name}` | {place.purpose} | {below} |")
    return "\n".join(rows)


def written(text: str) -> str:
    """Return a page's text with the plan between its two marks."""
    block = f"{BEGIN}\n{drawn()}\n{END}"
    return re.sub(rf"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block, text, flags=re.S)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
