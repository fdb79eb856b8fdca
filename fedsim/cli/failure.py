"""From an error to a message, an exit code, and a file for an unexpected traceback."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import click

from fedsim.cli.screen import Screen
from fedsim.errors import FedsimError, Interrupted, RunError, ScenarioError
from fedsim.runlog.run_folder import RunFolder

__all__ = ["resumable", "tell"]

_NEXT, _TRACEBACK = "next: ", "traceback: "
"""How the notes begin that an error carries from where it was seen to where it is told."""


@contextmanager
def resumable(folder: RunFolder) -> Iterator[None]:
    """Say of every error inside how to go on, and keep the unforeseen in the run's log."""
    try:
        yield
    except KeyboardInterrupt:
        stopped = Interrupted("interrupted; the finished rounds are kept")
        raise _with_next(stopped, folder) from None
    except (RunError, Interrupted) as error:
        _with_next(error, folder)
        raise
    except FedsimError:  # another scenario, other data or another folder is needed
        raise
    except Exception as error:
        folder.log("".join(traceback.format_exception(error)))
        error.add_note(f"{_TRACEBACK}{folder.path / 'events.log'}")
        raise


def _with_next(error: FedsimError, folder: RunFolder) -> FedsimError:
    if folder.scenario.is_file() and "fedsim resume" not in str(error):
        error.add_note(f"{_NEXT}fedsim resume {folder.path}")
    return error


def tell(error: Exception, screen: Screen) -> int:
    """Say what is wrong on stderr and return the exit code."""
    if screen.debug:
        screen.traceback(error)
    if isinstance(error, click.ClickException):
        return _misused(error, screen)
    if not isinstance(error, FedsimError):
        return _unforeseen(error, screen)
    if isinstance(error, ScenarioError):
        _faults(error, screen)
    elif isinstance(error, Interrupted):
        screen.note(str(error))
    else:
        screen.error(str(error))
    if advice := _noted(error, _NEXT):
        screen.next(advice)
    return error.exit_code


def _misused(error: click.ClickException, screen: Screen) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return 2
    text = error.format_message()
    # typer suggests the nearest name, and since click 8.5 so does click.
    screen.error(text.split(" (Did you mean")[0] if text.count("Did you mean") > 1 else text)
    context = getattr(error, "ctx", None)
    screen.next(f"{context.command_path if context else 'fedsim'} --help")
    return 2


def _faults(error: ScenarioError, screen: Screen) -> None:
    from fedsim.scenario.faults import as_json, render

    if screen.json:
        screen.dump(as_json(error.faults))
    else:
        screen.err.out(render(error.faults), highlight=False)


def _unforeseen(error: Exception, screen: Screen) -> int:
    place = _noted(error, _TRACEBACK)
    if not place:
        with tempfile.NamedTemporaryFile(
            "w", prefix="fedsim-", suffix=".log", delete=False
        ) as file:
            file.write("".join(traceback.format_exception(error)))
            place = file.name
    what = f"{type(error).__name__}: {error}".splitlines()[0][:500]
    screen.error(f"{what} (this should not happen; traceback: {place})")
    return 1


def _noted(error: Exception, start: str) -> str:
    notes: list[str] = getattr(error, "__notes__", [])
    return next((note.removeprefix(start) for note in notes if note.startswith(start)), "")
