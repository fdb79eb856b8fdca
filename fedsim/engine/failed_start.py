"""What is left of a run that could not start: nothing that looks like a run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from fedsim.errors import DataError, FedsimError, MissingPackage, ScenarioError
from fedsim.runlog.run_folder import RunFolder

__all__ = ["cleared_if_not_started"]

_BEGUN = ("rounds.jsonl", "checkpoints", "privacy.jsonl")
"""A run that has any of these has done something."""


@contextmanager
def cleared_if_not_started(folder: RunFolder) -> Iterator[None]:
    """Clear ``folder`` where the block fails before anything was computed.

    Where data, scenario or an absent package are to blame, no folder is left, and ``latest`` points
    to the run that it pointed to before.  Where nobody foresaw the error the folder stays, for its
    traceback is written there, but it is no run.  Other errors leave a run that can be resumed.
    """
    try:
        yield
    except (DataError, MissingPackage, ScenarioError):
        if not _has_begun(folder):
            folder.forget()
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    except FedsimError:
        raise
    except Exception:
        if not _has_begun(folder):
            folder.forget()
        raise


def _has_begun(folder: RunFolder) -> bool:
    return any((folder.path / name).exists() for name in _BEGUN)
