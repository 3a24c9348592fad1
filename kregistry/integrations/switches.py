"""The environment variables by which a deployment controls the integrations."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

log = logging.getLogger("kregistry.integrations")


#: Turns kregistry off in every engine.
EVERYTHING = "KREGISTRY"
#: Turns the manifest off that is made of the model's config; remembered calls and KREGISTRY_MANIFEST still count.
AUTOMATIC = "KREGISTRY_AUTO"
_OFF = ("0", "off", "false", "no")


def switched_on(variable: str) -> bool:
    """Whether a switch is on: it is, unless its environment variable says ``0``, ``off``, ``false`` or ``no``."""
    return os.environ.get(variable, "1").strip().lower() not in _OFF


def enabled(variable: str) -> bool:
    """Whether an integration is on: its own switch is, and ``KREGISTRY``, which is for all of them."""
    return switched_on(EVERYTHING) and switched_on(variable)


def one_line(error: BaseException) -> str:
    """An error as one line of a log."""
    return " | ".join(each.strip() for each in str(error).splitlines() if each.strip()) or type(error).__name__


def log_failure(text: str, error: BaseException) -> None:
    """Log an error that is being handled: a bug with its traceback, a fault of the machine or a setting as a line."""
    from kregistry.errors import KregistryError

    if isinstance(error, (KregistryError, OSError)):
        log.error("%s: %s", text, one_line(error))
    else:
        log.exception("%s", text)


@contextmanager
def failures_logged(text: str) -> Iterator[None]:
    """Log an exception of the block below ``text``, and go on: no failure of kregistry may end an engine.

    That also holds for code that wants to end the process, and for a log that cannot be written.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        with suppress(Exception):
            log_failure(text, error)
