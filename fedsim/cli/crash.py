"""What becomes of an error that nobody foresaw: a file with its traceback and one line."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedsim.errors import FedsimError, Interrupted
from fedsim.report.folder import RunFolder

__all__ = ["kept", "resumable"]


@contextmanager
def resumable(folder: RunFolder) -> Iterator[None]:
    """Say of every error inside how to go on, and keep the unforeseen in the run's log."""
    try:
        yield
    except KeyboardInterrupt:
        stop = Interrupted("interrupted; the finished rounds are kept")
        raise _with_next(stop, folder) from None
    except FedsimError as error:
        raise _with_next(error, folder) from error.__cause__
    except Exception as error:
        folder.log("".join(traceback.format_exception(error)))
        error.add_note(f"traceback: {folder.path / 'events.log'}")
        raise


def _with_next(error: FedsimError, folder: RunFolder) -> FedsimError:
    if folder.scenario.is_file() and "fedsim resume" not in str(error):
        error.add_note(f"next: fedsim resume {folder.path}")
    return error


def kept(error: BaseException) -> str:
    """Return where ``error``'s traceback is; write it to a temporary file if it is nowhere yet."""
    for note in getattr(error, "__notes__", []):
        if note.startswith("traceback: "):
            return str(note.removeprefix("traceback: "))
    with tempfile.NamedTemporaryFile("w", prefix="fedsim-", suffix=".log", delete=False) as file:
        file.write("".join(traceback.format_exception(error)))
    return str(Path(file.name))
