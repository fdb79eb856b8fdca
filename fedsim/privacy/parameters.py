"""What a record-level client half is told, and what it must be able to say of itself.

A client half that protects its own records adds its own noise, so the server need not be
trusted.  On its shelf it stands as the plain rule, whose fields a scenario sets under ``local``;
``under`` makes of it the rule that trains.  The names are all that the engine asks for: no
class has to be inherited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from fedsim.client import Client
from fedsim.privacy.noise import Rng

if TYPE_CHECKING:
    from fedsim.privacy.accountant import Release

__all__ = ["PrivacyParameters", "PrivateRule", "unprotected"]


@dataclass(frozen=True)
class PrivacyParameters:
    """What the section ``privacy`` of a scenario comes to for one client."""

    clip: float
    """The L2 norm that one unit's share of a release is cut to."""
    noise_multiplier: float
    """The noise's standard deviation over ``clip``."""
    rng: Rng = "secure"
    """Where the noise comes from; see :func:`fedsim.privacy.noise.source_of`."""


class PrivateRule(Protocol):
    """A client half that can protect its own records."""

    protects: ClassVar[tuple[str, ...]]
    """The phases in which what it sends is private; a strategy with another one is refused."""

    def under(self, terms: PrivacyParameters) -> Client:
        """Return the rule that trains under ``terms``.

        What its updates carry is private, metrics and the number of examples too: it sends
        no metrics, and the same number of examples whatever it holds.
        """
        ...

    def releases(self, noise_multiplier: float, turns: int) -> tuple[Release, ...]:
        """Return all that ``turns`` turns of one client release, whichever client it is.

        Args:
            noise_multiplier: of the terms.
            turns: of the client over the whole run; at least 1.
        """
        ...


def unprotected(half: object, phases: Sequence[str]) -> list[str]:
    """Return the ``phases`` in which what ``half`` sends is not private."""
    return [phase for phase in phases if phase not in getattr(half, "protects", ())]
