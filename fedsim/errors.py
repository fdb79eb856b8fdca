"""Every error that fedsim raises on purpose, on one page.

FedsimError                exit code 4 unless said otherwise
├── ScenarioError     2    the file or the command is wrong: holds every fault, each with its place
├── DataError         3    the data cannot be read, or cannot be dealt as the scenario asks
├── MissingPackage    2    an optional package is needed: says which, and how to install it
├── RunError          4    the run cannot go on; what was computed is kept
│   └── QuorumLost    4    fewer clients replied than ``clients.min_replies`` asks for
├── RunFolderError    2    a run folder is absent, in use, damaged, or of another scenario
├── Refused           2    the server refuses this device, or cannot be trusted: for good
├── Unreachable       4    the server does not answer, or not yet: asking again may help
├── BudgetSpent       6    the privacy budget allows no further round; the result so far is kept
├── StudyIncomplete   5    a cell of a study failed; all others are finished
└── Interrupted     130    Ctrl-C or SIGTERM: the run can be resumed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = [
    "BudgetSpent",
    "DataError",
    "Fault",
    "FedsimError",
    "Interrupted",
    "MissingPackage",
    "QuorumLost",
    "Refused",
    "RenamedKeyWarning",
    "RunError",
    "RunFolderError",
    "ScenarioError",
    "StudyIncomplete",
    "Unreachable",
]


class FedsimError(Exception):
    """The base of every error that fedsim raises on purpose."""

    exit_code = 4


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong in a scenario file or on the command line."""

    file: str
    line: int
    """From 1; 0 where no line is to blame (an empty file, ``--set``)."""
    column: int
    """From 1; 0 where no line is to blame."""
    key: str
    """Dotted, such as ``data.partition.alpha``; empty for the file as a whole."""
    message: str
    """What is wrong and what was expected, in one line."""
    hint: str = ""
    """The nearest valid name, or what to do."""
    source: str = field(default="", compare=False)
    """The text of the line."""


class ScenarioError(FedsimError):
    """The scenario does not describe a run that fedsim can do."""

    exit_code = 2

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults))
        super().__init__("; ".join(f"{fault.key}: {fault.message}" for fault in self.faults))


class DataError(FedsimError):
    """The data cannot be read, or cannot be dealt to clients as the scenario asks."""

    exit_code = 3

    def __init__(self, message: str, parameter: str = "") -> None:
        """Keep the message, and which parameter of the source is to blame, if one is."""
        super().__init__(message)
        self.parameter = parameter


class MissingPackage(FedsimError):
    """An optional package is needed for what the scenario asks."""

    exit_code = 2


class RunError(FedsimError):
    """The run cannot go on; all finished rounds are kept and the run can be resumed."""


class QuorumLost(RunError):
    """Fewer clients replied in a round than the scenario's quorum."""


class RunFolderError(FedsimError):
    """A run folder is absent, in use by another process, damaged, or of another scenario."""

    exit_code = 2


class Refused(FedsimError):
    """What is asked for would not be safe, or the server says no; asking again would not help."""

    exit_code = 2


class Unreachable(FedsimError):
    """The server does not answer this device, or not yet; asking again may help."""


class StudyIncomplete(FedsimError):
    """A cell of a study failed; all others are finished."""

    exit_code = 5


class BudgetSpent(FedsimError):
    """The privacy budget allows no further round; what was finished has its result."""

    exit_code = 6


class Interrupted(FedsimError):
    """The user asked the run to stop; it can be resumed."""

    exit_code = 130


class RenamedKeyWarning(FutureWarning):
    """A scenario calls a key by a name that the next version will not take."""
