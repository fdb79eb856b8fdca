"""The privacy parameters of a record-level local update rule, and the contract of such a rule.

A rule that protects its own records adds its own noise, so the server need not be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

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


class PrivateRule(Client):
    """A local update rule that can protect its own records.

    On its shelf it stands as the plain rule; :meth:`under` makes of it the rule that trains.
    """

    protects: ClassVar[tuple[str, ...]] = ()
    """The phases in which what it sends is private; a strategy with another one is refused."""

    def under(self, terms: PrivacyParameters) -> Client:
        """Return the rule that trains under ``terms``.

        What its updates carry is private, metrics and the number of examples too: it sends
        no metrics, and the same number of examples whatever it holds.
        """
        raise NotImplementedError

    def serving(self, phases: Sequence[str]) -> PrivateRule:
        """Return the rule as it is charged when a round has ``phases``; by default itself."""
        return self

    def releases(self, noise_multiplier: float, turns: int) -> tuple[Release, ...]:
        """Return all that ``turns`` turns of one client release, whichever client it is.

        Args:
            noise_multiplier: of the terms.
            turns: of the client over the whole run; at least 1.
        """
        raise NotImplementedError


def unprotected(rule: type | object, phases: Sequence[str]) -> list[str]:
    """Return the ``phases`` in which what ``rule``, or its class, sends is not private."""
    is_private = rule if isinstance(rule, type) else type(rule)
    protects = getattr(is_private, "protects", ())  # classes of others may lack it
    return [phase for phase in phases if phase not in protects]
