"""Standard output carries only the data of a command; anything that plugins print goes to standard error."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from contextvars import ContextVar
from typing import Any, TextIO

import click

_DATA: ContextVar[TextIO | None] = ContextVar("kregistry_data", default=None)


def data_stream() -> TextIO:
    """The stream for data: the real standard output."""
    return _DATA.get() or sys.stdout


def echo(text: str = "", *, nl: bool = True) -> None:
    """Write data to standard output. Other text is written with ``click.echo(..., err=True)``."""
    click.echo(text, file=data_stream(), nl=nl)


def for_data_only(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command: while it runs, ``print`` writes to standard error in every thread; :func:`echo` is unchanged."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        token = _DATA.set(sys.stdout)
        try:
            with redirect_stdout(sys.stderr):
                return command(*args, **kwargs)
        finally:
            _DATA.reset(token)

    return run
