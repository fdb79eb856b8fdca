"""Output of commands: results to stdout, notes to stderr, and the options every command has."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import click
from rich.console import Console
from rich.text import Text
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.models import ArgumentInfo

from fedsim.runlog.files import plain

__all__ = ["CommandGroup", "HelpfulCommand", "Screen"]


@dataclass(frozen=True)
class Screen:
    """What a command speaks through."""

    out: Console
    err: Console
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False

    @classmethod
    def of(cls, options: Mapping[str, object]) -> Screen:
        """Return the screen that the options in ``said``, a context's ``obj``, ask for."""
        out, err = (
            _console(error, bool(options.get("fedsim.no_color"))) for error in (False, True)
        )
        return cls(
            out,
            err,
            json=options.get("fedsim.format") == "json",
            quiet=bool(options.get("fedsim.quiet")),
            verbose=bool(options.get("fedsim.verbose")),
            debug=bool(options.get("fedsim.debug")),
        )

    @classmethod
    def current(cls) -> Screen:
        """Return the screen of the command that is being run."""
        return cls.of(click.get_current_context().obj)

    def say(self, text: str = "", style: str = "") -> None:
        """Print a line of the result."""
        self.out.print(Text(text, style=style), soft_wrap=True)

    def dump(self, value: object) -> None:
        """Print the result as JSON: dataclasses as objects, NaN as null."""
        self.out.out(json.dumps(plain(value), indent=2, ensure_ascii=False), highlight=False)

    def table(self, head: list[str], rows: list[list[str]], right: frozenset[str]) -> None:
        """Print rows under a head; the columns named in ``right`` are aligned right."""
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        for number, row in enumerate([head, *rows]):
            cells = (
                cell.rjust(width) if name in right else cell.ljust(width)
                for name, cell, width in zip(head, row, widths, strict=True)
            )
            self.say("  ".join(cells).rstrip(), "" if number else "bold")

    def note(self, text: str, style: str = "") -> None:
        """Print a line beside the result."""
        if not self.quiet:
            self.err.print(Text(text, style=style), soft_wrap=True)

    def next(self, command: str) -> None:
        """Print what to do next."""
        if not self.json:
            self.note(f"next: {command}", "cyan")

    def traceback(self, error: BaseException) -> None:
        """Print where ``error`` comes from."""
        self.err.out("".join(traceback.format_exception(error)), highlight=False)

    def error(self, text: str) -> None:
        """Print what is wrong."""
        head, _, details = text.partition("\n")
        self.err.print(Text("error: ", "bold red") + Text(head), soft_wrap=True)
        if details:
            self.err.print(Text(details), soft_wrap=True)


class _Pipe(Console):
    """A console that leaves it to the command line what a reader's going away means."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _console(error: bool, no_color: bool) -> Console:
    return _Pipe(
        stderr=error, no_color=no_color or None, highlight=False, markup=False, emoji=False
    )


def _option(names: list[str], text: str, **how: Any) -> TyperOption:
    key = f"fedsim.{names[0].strip('-').replace('-', '_')}"

    def keep(context: click.Context, _: click.Parameter, value: object) -> None:
        if value:
            context.obj[key] = value

    how = {"is_flag": True, "default": False} | how
    return TyperOption(
        param_decls=names,
        help=text,
        expose_value=False,
        callback=keep,
        rich_help_panel="Everywhere",
        **how,
    )


def _everywhere() -> list[click.Parameter]:
    kinds = click.Choice(["text", "json"])
    return [
        _option(
            ["--format"],
            "text for people, json for programs",
            is_flag=False,
            default=None,
            type=kinds,
        ),
        _option(["--quiet", "-q"], "print the result only"),
        _option(["--verbose", "-v"], "print more"),
        _option(["--no-color"], "plain text; so does NO_COLOR=1"),
        _option(["--debug"], "show the traceback of an unexpected error"),
    ]


def _argument_helps(verb: Any) -> dict[str, str | None]:
    """Return what ``verb`` says of its arguments: click 8.5 loses it on the way from typer 0.20."""
    return {
        name: marker.help
        for name, hint in get_type_hints(verb, include_extras=True).items()
        for marker in getattr(hint, "__metadata__", ())
        if isinstance(marker, ArgumentInfo)
    }


class HelpfulCommand(TyperCommand):
    """A command that takes the options every command takes."""

    def __init__(self, *words: Any, **how: Any) -> None:
        super().__init__(*words, **how)
        helps = _argument_helps(self.callback)
        for param in self.params:
            if isinstance(param, TyperArgument):
                param.help = param.help or helps.get(str(param.name))
        self.params.extend(_everywhere())


class CommandGroup(TyperGroup):
    """A group that lists its commands as they are given and takes the same options."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.params.extend(_everywhere())
