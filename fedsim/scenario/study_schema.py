"""What a study may say: one scenario, varied along named axes, with the same seeds everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

from annotated_types import Ge, Lt
from pydantic import Field, StringConstraints

from fedsim.scenario.tune import Span, Tune
from fedsim.schema.part import Section
from fedsim.schema.scenario import Output, Scenario
from fedsim.schema.wording import Wording, plural

__all__ = [
    "ON_DOMAIN",
    "Cell",
    "Compare",
    "ParameterSearch",
    "Study",
    "StudyHeader",
    "compared_names",
    "smallest_p",
]

Name = Scenario.model_fields["name"]
ON_DOMAIN = "domain_"
"""Before the name of a domain: the primary metric on its test examples."""


def compared_names(metrics: Sequence[str]) -> tuple[str, ...]:
    """Return what a study can compare where runs measure ``metrics``, the primary one first."""
    on_clients = (f"{metrics[0]}_uniform", f"{metrics[0]}_worst_10", "worst_10")
    return (*metrics, *(f"client_{name}" for name in (*metrics, *on_clients)))


class Compare(Section):
    """What is compared with what, said before anything has run."""

    baseline: str | None = None
    """The level that all others are compared with; by default the first."""
    primary: (
        Annotated[
            str,
            StringConstraints(
                pattern=rf"^([a-z][a-z0-9_]*|{ON_DOMAIN}[^@\n]+)@(final|[1-9]\d{{0,5}})$(?!\n)"
            ),
            Wording(
                "a metric of the task, on its own, as client_METRIC, client_METRIC_uniform or "
                f"client_worst_10, or {ON_DOMAIN}NAME, and @final or @ROUND, such as accuracy@final"
            ),
        ]
        | None
    ) = None
    """The metric of a run that decides the comparison, and the round it is taken from; null: the
    task's primary metric at the end."""
    x: Annotated[tuple[Literal["rounds", "bytes", "seconds"], ...], Field(strict=False)] = (
        "rounds",
        "bytes",
    )
    """What curves are drawn over; seconds make the page depend on the machine."""
    ci: Annotated[float, Ge(0.5), Lt(1)] = 0.95
    """The level of intervals."""
    test: Literal["auto", "t", "permutation", "wilcoxon"] = "auto"
    """The paired test; auto is the permutation test, which assumes least."""
    correction: Literal["holm", "none"] = "holm"
    """How p-values are corrected for the number of comparisons."""


class StudyHeader(Section):
    """The keys of a study file."""

    schema_: Literal["fedsim/1"] = Field("fedsim/1", alias="schema")
    """The version of this format."""
    kind: Literal["study"]
    """A study is many experiments and one report."""
    name: Annotated[str, *Name.metadata] = "study"
    """What the study is called; by default the name of the file."""
    description: str = ""
    """A sentence or two on the study, for those who read its report."""
    base: str
    """The scenario that every cell starts from: a path relative to this file, or preset:NAME."""
    set: dict[str, Any] = Field(default={})
    """Changes of the base for every cell: dotted keys with their values."""
    seeds: Annotated[
        tuple[Annotated[int, Ge(0)], ...],
        Field(strict=False, min_length=1),
        Wording("a list of at least one whole number >= 0"),
    ]
    """Every cell is run with each of them, so that comparisons are paired."""
    axes: dict[str, Any]
    """What is varied: the axis `strategy` is a list of strategies; any axis may be a mapping
    of named levels, each a mapping of dotted keys to values."""
    exclude: Annotated[tuple[dict[str, str], ...], Field(strict=False)] = ()
    """Combinations that are left out, such as {strategy: scaffold, heterogeneity: iid}."""
    tune: Tune | None = None
    """Values that are looked for first, on the clients' validation parts, never on test data."""
    report: Compare = Compare()
    """What is compared with what."""
    output: Output = Output()
    """Where results go."""


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    name: str
    levels: Mapping[str, str]
    """By axis."""
    seed: int
    scenario: Scenario


@dataclass(frozen=True)
class ParameterSearch:
    """What is tried for one combination of levels before its cells run."""

    name: str
    """What the names of its cells and trials begin with."""
    levels: Mapping[str, str]
    space: Mapping[str, Span]
    """By key; what the levels say themselves is not in it."""


@dataclass(frozen=True)
class Study:
    """A study, checked whole: every cell's scenario is right."""

    head: StudyHeader
    axes: Mapping[str, tuple[str, ...]]
    """The levels' names by axis; the first axis is what is compared."""
    cells: tuple[Cell, ...]
    searches: tuple[ParameterSearch, ...] = ()
    """One for each combination of levels for which there is anything to tune."""

    @property
    def trials(self) -> int:
        """How many runs the searches take, beside the cells."""
        tune = self.head.tune
        per_search = tune.trials * min(tune.seeds, len(self.head.seeds)) if tune else 0
        return per_search * len(self.searches)

    @property
    def settings(self) -> int:
        """In how many settings the first axis's levels are compared."""
        others = list(self.axes.values())[1:]
        return len(list(product(*others)))

    def shape(self) -> str:
        """Return the study's size in words.

        >>> Study(StudyHeader(kind="study", base="a.yaml", seeds=[1, 2], axes={}), {"a": ("x",)}, ()
        ... ).shape()
        '1 a x 2 seeds = 0 runs'
        """
        sides = [f"{len(levels)} {axis}" for axis, levels in self.axes.items()]
        seeds = plural(len(self.head.seeds), "seed")
        product_text = f"{' x '.join([*sides, seeds])} = {len(self.cells)} runs"
        return f"{product_text}, after {self.trials} trials" if self.trials else product_text

    def note(self) -> str:
        """Return what the number of seeds cannot show; empty where there are enough."""
        seeds = len(self.head.seeds)
        if smallest_p(seeds) <= 1 - self.head.report.ci:
            return ""
        text = (
            f"with {plural(seeds, 'seed')} an exact paired test cannot go below "
            f"p = {smallest_p(seeds):.4g} in one setting; use >= 6 seeds"
        )
        blocked = f", or read the test blocked over all {self.settings} settings"
        return text + blocked if self.settings > 1 else text


def smallest_p(pairs: int) -> float:
    """Return the least two-sided p-value of an exact paired test: ``2 / 2^pairs``, at most 1."""
    return float(min(1.0, 2.0 ** (1 - pairs)))
