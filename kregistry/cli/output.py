"""Standard output carries only the data of a command; anything that plugins print goes to standard error."""

from __future__ import annotations

import fcntl
import functools
import io
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import Any, TextIO

import click

from kregistry.errors import StorageError

_DATA: ContextVar[TextIO | None] = ContextVar("kregistry_data", default=None)


def data_stream() -> TextIO:
    """The stream for data: the real standard output."""
    return _DATA.get() or sys.stdout


def data_descriptor() -> int | None:
    """The descriptor of the real standard output, for a child that writes there; None: the child inherits it."""
    stream = _DATA.get()
    return stream.fileno() if isinstance(stream, _DataStream) else None


def echo(text: str = "", *, nl: bool = True, mark: str = "") -> None:
    """Write data to standard output, after a mark in colours of our own; control characters in it are escaped."""
    click.echo(mark + escape_controls(text), file=data_stream(), nl=nl)


def say(text: str, *, mark: str = "") -> None:
    """Write a message to standard error, in the same way."""
    click.echo(mark + escape_controls(text), err=True)


def escape_controls(text: str) -> str:
    """A text that no terminal takes for commands: control characters other than line ends and tabs are escaped.

    Characters that UTF-8 cannot encode (the halves of surrogate pairs, as in a file name of other bytes) are too.
    """
    if text.isprintable():
        return text
    return "".join(
        each.encode("unicode_escape").decode()
        if unicodedata.category(each) in _ESCAPED and each not in "\n\t"
        else each
        for each in text
    )


#: Control characters, surrogates, and characters that change the direction of text.
_ESCAPED = ("Cc", "Cs", "Cf")


def reserve_standard_output() -> None:
    """In a process that does nothing but run one command: replace ``sys.stdout`` by a stream for data only.

    It writes to a copy of descriptor 1, so that descriptor 1 itself can become standard error when the command starts.
    """
    stdout = sys.stdout
    if not isinstance(stdout, io.TextIOWrapper) or stdout is not sys.__stdout__ or stdout.fileno() != 1:
        return  # it was closed when Python started, or it is not the one that Python opened
    # Above 2: if standard error is closed, its number is free. No child inherits the copy.
    copy = os.fdopen(fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3), "wb")
    sys.stdout = _DataStream(copy, encoding=stdout.encoding, errors=stdout.errors)
    stdout.reconfigure(errors="backslashreplace", line_buffering=True)  # as of sys.stderr


def for_data_only(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command: while it runs, ``print`` writes to standard error in every thread; :func:`echo` is unchanged.

    After :func:`reserve_standard_output`, descriptor 1 is standard error from the start of the command to the end of
    the process: also for child processes, for threads that go on, and for functions of ``atexit``.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        data = sys.stdout
        token = _DATA.set(data)
        try:
            if isinstance(data, _DataStream):
                _make_descriptor_1_standard_error()
                with data:
                    return command(*args, **kwargs)
            with redirect_stdout(sys.stderr):
                return command(*args, **kwargs)
        finally:
            _DATA.reset(token)

    return run


def _make_descriptor_1_standard_error() -> None:
    sys.stdout = sys.__stdout__
    if sys.stderr is None:  # it was closed when Python started
        _write_to_nothing(1)
    else:
        os.dup2(2, 1)


class _DataStream(io.TextIOWrapper):
    """The real standard output. A full disk is a :class:`StorageError`; a broken pipe stays one, which click knows."""

    def write(self, text: str) -> int:
        with self._given_up_when_refused():
            return super().write(text)

    def flush(self) -> None:
        with self._given_up_when_refused():
            super().flush()

    @contextmanager
    def _given_up_when_refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _write_to_nothing(self.fileno())  # or else the rest would be refused when the stream is closed
            if isinstance(error, BrokenPipeError):
                raise
            raise StorageError("standard output", error.strerror or str(error)) from error


def _write_to_nothing(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor, inheritable=descriptor <= 2)
    os.close(nothing)
