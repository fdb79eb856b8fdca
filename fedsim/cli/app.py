"""The command line as a whole: its commands, and the one place where errors become exit codes.

====  ==================================================================
exit  means
====  ==================================================================
0     done
1     an unexpected error; its traceback is in a file
2     the command, the scenario or the run folder is wrong
3     the data cannot be read or partitioned
4     the run cannot go on; what was computed is kept
5     a cell of a study failed; all others are finished
6     the privacy budget is spent; the result of the finished rounds is kept
130   interrupted; the run can be resumed
141   the reader of stdout went away
====  ==================================================================
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any

import click
import typer

from fedsim.cli import cluster_command as cluster
from fedsim.cli import data_command as data
from fedsim.cli import edge_command as edge
from fedsim.cli.check_command import check
from fedsim.cli.diff_command import diff
from fedsim.cli.doctor_command import doctor
from fedsim.cli.explain_command import explain, schema
from fedsim.cli.export_command import export as export_model
from fedsim.cli.export_command import predict
from fedsim.cli.failure import tell
from fedsim.cli.init_command import init
from fedsim.cli.list_command import shelves
from fedsim.cli.ls_command import ls
from fedsim.cli.privacy_command import audit, export, plan
from fedsim.cli.privacy_command import show as show_privacy
from fedsim.cli.report_command import report
from fedsim.cli.rerun_command import rerun
from fedsim.cli.run_command import resume, run
from fedsim.cli.screen import CommandGroup, HelpfulCommand, Screen
from fedsim.cli.show_command import show
from fedsim.errors import Interrupted, RenamedKeyWarning

__all__ = ["app", "main"]

_GONE = 141

app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, add_completion=False, rich_markup_mode="rich"
)
_data = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Look at partitions; get public data.",
)

_privacy = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Plan, show and audit privacy.")


def _version(show_version: bool) -> None:
    if show_version:
        Screen.current().say(f"fedsim {version('fedsim')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Federated learning: one YAML file per experiment.

    Start with: fedsim init demo
    """


_VERBS: dict[str, dict[str, Callable[..., None]]] = {
    "Experiments": {"init": init, "check": check, "run": run, "resume": resume},
    "Results": {
        "ls": ls,
        "show": show,
        "report": report,
        "diff": diff,
        "rerun": rerun,
        "predict": predict,
        "export": export_model,
    },
    "Reference": {"list": shelves, "explain": explain, "schema": schema, "doctor": doctor},
}
for _panel, _verbs in _VERBS.items():
    for _name, _verb in _verbs.items():
        app.command(_name, cls=HelpfulCommand, rich_help_panel=_panel)(_verb)
_data.command("preview", cls=HelpfulCommand)(data.preview)
_data.command("get", cls=HelpfulCommand)(data.get)
_data.command("list", cls=HelpfulCommand)(data.entries)
app.add_typer(_data, name="data", rich_help_panel="Reference")
_privacy.command("plan", cls=HelpfulCommand)(plan)
_privacy.command("show", cls=HelpfulCommand)(show_privacy)
_privacy.command("export", cls=HelpfulCommand)(export)
_privacy.command("audit", cls=HelpfulCommand)(audit)
app.add_typer(_privacy, name="privacy", rich_help_panel="Results")
_edge = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Real devices instead of simulated ones."
)
for _verb in (edge.init, edge.server, edge.join, edge.status, edge.revoke, edge.calibrate):
    _edge.command(_verb.__name__, cls=HelpfulCommand)(_verb)
app.add_typer(_edge, name="edge", rich_help_panel="Experiments")
_cluster = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Check a Ray cluster before a run."
)
_cluster.command("check", cls=HelpfulCommand)(cluster.check)
app.add_typer(_cluster, name="cluster", rich_help_panel="Reference")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    options: dict[str, object] = {}
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, options, warnings.showwarning)
            code = _invoke(words, options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone; nothing more can be said to it, not even by the final flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = _GONE
    except (KeyboardInterrupt, click.Abort):
        Screen.of(options).note("interrupted")
        code = Interrupted.exit_code
    except Exception as error:
        code = tell(error, Screen.of(options))
    if code == Interrupted.exit_code and argv is None:
        # A second Ctrl-C must not cut short what the interpreter still has to close.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return code


def _show_warning(
    options: dict[str, object],
    otherwise: Callable[..., None],
    message: Warning | str,
    category: type[Warning],
    *place: Any,
) -> None:
    if issubclass(category, RenamedKeyWarning):
        Screen.of(options).note(f"note    {message}", "yellow")
    else:
        otherwise(message, category, *place)


def _invoke(words: list[str], options: dict[str, object]) -> int:
    command = typer.main.get_command(app)
    try:
        with command.make_context("fedsim", words, obj=options) as context:
            command.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    return 0
