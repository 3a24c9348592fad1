"""Processes that kregistry starts: they run nothing from the directory where kregistry happens to run.

A file such as ``json.py`` in the current directory must not be imported in a Python child, and ``python -m`` and
``python -c`` put that directory first. So a child gets its module search path before its first import, and inherits a
PYTHONPATH without relative or empty entries. The same holds for programs such as ``nvcc`` and for PATH.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # the console script imports this module first: it must not import what may be hidden by a file
if TYPE_CHECKING:
    from collections.abc import Mapping

#: (interpreter, PYTHONPATH) -> search path. Not functools.cache: a file may hide functools.
_paths: dict[tuple[str, str | None], list[str]] = {}
#: PATH as the user has set it, if :func:`clean_path` has changed it.
_given: dict[str, str] = {}


def child_command(code: str, *arguments: str) -> list[str]:
    """The command of a new interpreter that runs code with :func:`search_path`, for :func:`child_environment`."""
    return [sys.executable, "-c", f"import sys\nsys.path[:] = {search_path()!a}\n{code}", *arguments]


def child_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a Python child: PYTHONPATH and PATH keep only their absolute entries."""
    cleaned = dict(environment)
    if relative_entries(environment):
        absolute = _absolute(cleaned.pop("PYTHONPATH"))
        if absolute:
            cleaned["PYTHONPATH"] = absolute
    if "PATH" in cleaned:
        cleaned["PATH"] = _absolute(cleaned["PATH"]) or os.defpath
    return cleaned


def clean_path() -> None:
    """Let this process and its children find programs only by the absolute entries of PATH."""
    given = os.environ.get("PATH")
    if given is None or given == (cleaned := _absolute(given) or os.defpath):
        return
    _given["PATH"] = given
    os.environ["PATH"] = cleaned


def as_given(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment with the PATH that the user has set, for a command of the user."""
    return {**environment, **_given}


def find_program(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The path of a program: ``name`` itself if it is a path, or else the first one in an absolute entry of PATH."""
    import shutil

    return shutil.which(name, path=_absolute(environment.get("PATH", os.defpath)))


def relative_entries(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The entries of PYTHONPATH that depend on the current directory; an empty entry means that directory."""
    value = environment.get("PYTHONPATH")
    return [entry for entry in value.split(os.pathsep) if not os.path.isabs(entry)] if value else []


def _absolute(value: str) -> str:
    """A search path without its relative and empty entries."""
    return os.pathsep.join(entry for entry in value.split(os.pathsep) if os.path.isabs(entry))


def search_path() -> list[str]:
    """``sys.path`` without the entries that depend on the current directory.

    These are empty and relative entries, those of PYTHONPATH (Python itself has made them absolute), and the one that
    ``python -m`` adds. The directory of a script stays, because the user has named it.
    """
    entries = [entry for entry in sys.path if isinstance(entry, str) and os.path.isabs(entry)]
    try:
        here = os.getcwd()
    except FileNotFoundError:  # it was removed: nothing can be imported from there
        return entries
    if _run_as_module() and here in entries:
        entries.remove(here)  # once: an editable installation may have added it as well
    named = {os.path.normpath(os.path.join(here, entry)) for entry in relative_entries()}
    if named.intersection(entries):
        own = _path_of_an_interpreter()
        entries = [entry for entry in entries if entry not in named or entry in own]
    return entries


def _run_as_module() -> bool:
    return getattr(sys.modules.get("__main__"), "__spec__", None) is not None


def _path_of_an_interpreter() -> list[str]:
    """The search path of a new interpreter if PYTHONPATH has no relative entries; it is started once."""
    key = sys.executable, os.environ.get("PYTHONPATH")
    if key not in _paths:
        _paths[key] = _ask_an_interpreter()
    return _paths[key]


def _ask_an_interpreter() -> list[str]:
    import subprocess

    code = "import os, sys\nsys.stdout.buffer.write(os.fsencode('\\0'.join(filter(None, sys.path))))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    return os.fsdecode(done.stdout).split("\0")
