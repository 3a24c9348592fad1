"""Standard output carries the data of a command only: what plugins print meanwhile goes to standard error."""

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
    """Standard output, for data."""
    return _DATA.get() or sys.stdout


def echo(text: str = "", *, nl: bool = True) -> None:
    """Write data to standard output; everything else is written by ``click.echo(..., err=True)``."""
    click.echo(text, file=data_stream(), nl=nl)


def for_data_only(command: Callable[..., Any]) -> Callable[..., Any]:
    """While the command runs, ``print`` writes to standard error, in every thread, and :func:`echo` as before."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        token = _DATA.set(sys.stdout)
        try:
            with redirect_stdout(sys.stderr):
                return command(*args, **kwargs)
        finally:
            _DATA.reset(token)

    return run
