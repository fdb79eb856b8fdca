"""What the JDME benchmark plugs in: natural clients, some of which are targets."""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.data.partitions.natural import Natural


@dataclass(frozen=True)
class NaturalRoles(Natural):
    """Natural clients; those of the domains named in ``targets`` have no labels."""

    targets: tuple[str, ...] = ()
