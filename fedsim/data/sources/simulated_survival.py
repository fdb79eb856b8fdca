"""A simulated cohort: times to an event, some of them censored.

References:
    Bender, Augustin, Blettner, "Generating survival times to simulate Cox proportional hazards
    models", Statistics in Medicine 24, 2005, equation 3 (Weibull baseline hazard).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from fedsim.data.header import FieldSpec, Header

if TYPE_CHECKING:
    from fedsim.data.dataset import Dataset

__all__ = ["SimulatedSurvival"]


@dataclass(frozen=True)
class SimulatedSurvival:
    """Patients with independent normal covariates and Weibull times; nothing of it is real."""

    rows: Annotated[int, Ge(10)] = 2000
    """How many patients there are."""
    covariates: Annotated[int, Ge(1)] = 8
    """How many covariates each has; the first half of them matter."""
    shape: Annotated[float, Gt(0)] = 1.5
    """The shape of the Weibull distribution: above 1 the hazard grows with time."""
    censored: Annotated[float, Ge(0), Lt(1)] = 0.3
    """About which share of patients is lost before the event."""

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the cohort that ``seed`` draws; targets are (time, event)."""
        import numpy as np

        from fedsim.data.dataset import Dataset
        from fedsim.seeds import numpy_stream

        generator = numpy_stream(seed, "source")
        inputs = generator.normal(size=(self.rows, self.covariates))
        matter = (self.covariates + 1) // 2
        effects = np.r_[np.linspace(1.0, 0.3, matter), np.zeros(self.covariates - matter)]
        uniform = generator.random(self.rows)
        time = (-np.log(uniform) / np.exp(inputs @ effects)) ** (1 / self.shape)
        # Whoever leaves does so at any time that the cohort is followed, up to its longest.
        is_lost = generator.random(self.rows) < self.censored
        left_at = np.where(is_lost, generator.random(self.rows) * time, time)
        return Dataset(
            inputs=inputs.astype(np.float32),
            labels=np.stack([left_at, ~is_lost], axis=1).astype(np.float32),
            test_inputs=None,
            test_labels=None,
            classes=0,
            columns=tuple(f"x{k}" for k in range(self.covariates)),
            target_names=("time", "event"),
        )

    def peek(self, folder: Path) -> Header:
        """Return what is known of the cohort."""
        return Header(
            fields={"inputs": FieldSpec("float32", (self.covariates,))},
            targets=FieldSpec("float32", (2,)),
            rows=self.rows,
            test_rows=0,
            classes=0,
            has_clients=False,
            has_domains=False,
        )
