"""A function in a file of the user's: what its source tells without running it, and its result."""

from __future__ import annotations

import ast
import inspect
import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsim.errors import DataError, FedsimError
from fedsim.plugins.file_import import module_in
from fedsim.plugins.python_file import Module, NotRead, module_at
from fedsim.schema.wording import did_you_mean

__all__ = ["GIVEN", "UserFunction", "refuse_unwanted"]

GIVEN = ("seed", "folder")
"""What a function is given besides a scenario's arguments, if it has parameters called so."""


@dataclass(frozen=True)
class UserFunction:
    """A function that a scenario names as ``./file.py:NAME``."""

    file: Path
    name: str
    key: str = "path"
    """The parameter of the source that names it, which faults point to."""

    @classmethod
    def of(cls, reference: str, folder: Path, key: str = "path") -> UserFunction:
        """Return the function that ``reference`` names, in a file relative to ``folder``.

        Raises:
            DataError: if it is no ``FILE.py:NAME``.
        """
        file, colon, name = reference.rpartition(":")
        if not colon or not file.endswith(".py") or not name.isidentifier():
            raise DataError(f"{reference!r} names no function; ./file.py:NAME is expected", key)
        return cls(folder / file, name, key)

    @property
    def who(self) -> str:
        """The function as messages call it."""
        return f"{self.file.name}:{self.name}"

    def accepted(self) -> Accepted:
        """Return what its source says that it takes; the file is not run.

        Raises:
            DataError: if there is no such file or function, or the file is not Python.
        """
        if not self.file.is_file():
            raise DataError(f"there is no file {self.file}", self.key)
        try:
            module = module_at(self.file)
        except NotRead as error:
            raise DataError(str(error), self.key) from error
        functions = {n.name: n for n in module.tree.body if isinstance(n, ast.FunctionDef)}
        if self.name in functions:
            return _accepted_by_source(functions[self.name].args)
        if self.name in _bound(module):
            return Accepted(takes_any=True)
        raise self._absent([*functions])

    def result(self, values: Mapping[str, Any]) -> object:
        """Import the file, call the function with those ``values`` that it takes, and return that.

        Raises:
            DataError: if there is no such function, it cannot be imported, it needs what
                ``values`` has not, or it raises.
        """
        try:
            module = module_in(self.file)
        except FedsimError:
            raise
        except (Exception, SystemExit) as error:  # importing runs what the author wrote
            reason = self.described(error)
            raise DataError(f"{self.file.name} cannot be imported: {reason}", self.key) from error
        function = getattr(module, self.name, None)
        if not callable(function):
            raise self._absent([n for n, v in vars(module).items() if inspect.isfunction(v)])
        accepted = _accepted_at_run_time(function)
        if missing := [name for name in accepted.required if name not in values]:
            raise DataError(self.lacks(missing[0]), "arguments")
        taken = {
            name: value
            for name, value in values.items()
            if name in accepted.names or (accepted.takes_any and name not in GIVEN)
        }
        try:
            return function(**taken)
        except FedsimError:
            raise
        except (Exception, SystemExit) as error:
            raise DataError(f"{self.who} raised {self.described(error)}", self.key) from error

    def lacks(self, name: str) -> str:
        """Return what is wrong where nothing is given for a parameter without a default."""
        return f"{self.who} needs {name!r}: say arguments: {{{name}: ...}}"

    def described(self, error: BaseException) -> str:
        """Return an error as one line, with the deepest line of the file that it passed."""
        text = " ".join(str(error).split())[:300]
        what = f"{type(error).__name__}: {text}" if text else type(error).__name__
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename) == self.file or Path(frame.filename) == self.file.resolve()
        ]
        return f"{what} (line {lines[-1]})" if lines else what

    def _absent(self, functions: list[str]) -> DataError:
        hint = did_you_mean(self.name, functions)
        hint = hint or f"it has {', '.join(functions) or 'no function'}"
        return DataError(f"{self.file.name} has no function {self.name}; {hint}", self.key)


@dataclass(frozen=True)
class Accepted:
    """Which arguments a function takes by keyword."""

    names: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    """Those without a default."""
    takes_any: bool = False
    """Whether it takes names that it does not list."""


def refuse_unwanted(functions: Collection[UserFunction], arguments: Mapping[str, Any]) -> None:
    """Check by their sources that ``functions`` are there, and fit a scenario's ``arguments``.

    Raises:
        DataError: if a function is not there, none takes one of the arguments, or one needs
            what is not given.
    """
    accepted = {function: function.accepted() for function in functions}
    names = dict.fromkeys(name for taken in accepted.values() for name in taken.names)
    takes_any = any(taken.takes_any for taken in accepted.values())
    for name in arguments:
        if name not in names and not takes_any:
            who = " and ".join(function.who for function in functions)
            choices = [*names]
            hint = did_you_mean(name, choices) or f"it takes {', '.join(choices) or 'nothing'}"
            raise DataError(f"{who} takes no argument {name!r}; {hint}", "arguments")
    for function, taken in accepted.items():
        for name in taken.required:
            if name not in arguments and name not in GIVEN:
                raise DataError(function.lacks(name), "arguments")


def _bound(module: Module) -> set[str]:
    """Return the names that a module binds in other ways than by a function of its own."""
    return {*module.assigned, *module.imports, *module.classes}


def _accepted_by_source(args: ast.arguments) -> Accepted:
    placed = [argument.arg for argument in (*args.posonlyargs, *args.args)]
    without = placed[: len(placed) - len(args.defaults)]
    pairs = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    return Accepted(
        names=(
            *placed[len(args.posonlyargs) :],
            *(argument.arg for argument in args.kwonlyargs),
        ),
        required=(*without, *(argument.arg for argument, value in pairs if value is None)),
        takes_any=args.kwarg is not None,
    )


def _accepted_at_run_time(function: Any) -> Accepted:
    parameters = inspect.signature(function).parameters.values()
    by_keyword = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return Accepted(
        names=tuple(p.name for p in by_keyword),
        required=tuple(p.name for p in by_keyword if p.default is p.empty),
        takes_any=any(p.kind == p.VAR_KEYWORD for p in parameters),
    )
