"""The headers of the CUDA toolkit that a source may include, found by reading ``#include`` lines.

Conditions are ignored, so the answer may hold headers that the preprocessor skips, and never misses one that it reads.
A macro with one parameter is followed (``#include CUDA_STD_HEADER(utility)`` of CUTLASS), another macro is not. Only
headers that are reached count, so a full toolkit and the wheels of one CUDA version give the same digest.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from attrs import frozen

from kregistry.deep_gemm.remembered import remembered

# Without an anchor at the start of a line, Python's search skips to the next ``#``; what it finds in a comment is one
# header more.
_INCLUDE = re.compile(
    rb'#[ \t]*include[ \t]*(?:<([^>\n]+)>|"([^"\n]+)"|(\w+)[ \t]*\([ \t]*([\w./]+)[ \t]*\))',
)
#: ``#define CUDA_STD_HEADER(header) <cuda/std/header>``
_MACRO = re.compile(rb"#[ \t]*define[ \t]+(\w+)\((\w+)\)[ \t]*<([^>\n]+)>")
#: nvcc includes it before the source.
_IMPLICIT = b"#include <cuda_runtime.h>\n"


def toolkit_headers(source: bytes, includes: tuple[Path, ...], toolkit: tuple[Path, ...]) -> str:
    """sha256 over the names and contents of all headers of the toolkit that a source may include.

    Args:
        source: text of the source, or the part of it with the ``#include`` lines.
        includes: the include paths of the command, in order.
        toolkit: the directories of the toolkit's headers; searched after ``includes``.
    """
    return _digest(_Text.read(_IMPLICIT + source), tuple(map(str, includes)), tuple(map(str, toolkit)))


def remembered_toolkit_headers(source: bytes, includes: tuple[Path, ...], toolkit: tuple[Path, ...]) -> str:
    """The same, remembered on this machine: for the start of a server, which asks for it each time."""
    return _remembered(_Text.read(_IMPLICIT + source), tuple(map(str, includes)), tuple(map(str, toolkit)))


@cache
def _remembered(text: _Text, includes: tuple[str, ...], toolkit: tuple[str, ...]) -> str:
    def compute() -> tuple[str, Iterable[str]]:
        directories = tuple(dict.fromkeys((*includes, *toolkit)))
        reached = _reached(text, directories)
        return _digest(text, includes, toolkit), reached | _searched(text, reached, directories)

    key = hashlib.sha256(repr((text, (includes, toolkit))).encode()).hexdigest()
    return remembered(key, compute)


def toolkit_header_files(source: bytes, includes: tuple[Path, ...], toolkit: tuple[Path, ...]) -> dict[str, str]:
    """The same headers by name, each with the sha256 of its content."""
    return dict(_files(_Text.read(_IMPLICIT + source), tuple(map(str, includes)), tuple(map(str, toolkit))))


def _digest(source: _Text, includes: tuple[str, ...], toolkit: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name, content in _files(source, includes, toolkit):
        digest.update(f"{name}\0{content}\0".encode())
    return digest.hexdigest()


@frozen
class _Text:
    """The lines of a file that matter here.

    Attributes:
        includes: (whether it is looked for beside the file first, name).
        calls: (macro, argument) of each include by a macro.
        macros: (macro, text with one ``{}`` for the argument).
    """

    includes: tuple[tuple[bool, str], ...]
    calls: tuple[tuple[str, str], ...]
    macros: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, content: bytes) -> _Text:
        matches = [[os.fsdecode(part or b"") for part in match.groups()] for match in _INCLUDE.finditer(content)]
        macros = [[os.fsdecode(part) for part in match.groups()] for match in _MACRO.finditer(content)]
        return cls(
            tuple(dict.fromkeys((bool(beside), name or beside) for name, beside, *_ in matches if name or beside)),
            tuple(dict.fromkeys((macro, argument) for _, _, macro, argument in matches if macro)),
            tuple((macro, re.sub(rf"\b{parameter}\b", "{}", text)) for macro, parameter, text in macros),
        )


@cache
def _files(source: _Text, includes: tuple[str, ...], toolkit: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """(name, sha256) of each header of the toolkit that is reached, sorted."""
    reached = _reached(source, tuple(dict.fromkeys((*includes, *toolkit))))
    named = sorted((name, path) for path in reached if (name := _name_in(path, toolkit)))
    return tuple((name, _content(path)) for name, path in named)


def _reached(source: _Text, directories: tuple[str, ...]) -> set[str]:
    """Every file that a source includes, directly or not."""
    reached: set[str] = set()
    macros: dict[str, set[str]] = {}
    calls: set[tuple[str, str]] = set()
    waiting: list[tuple[str | None, _Text]] = [(None, source)]
    while waiting:
        path, text = waiting.pop()
        calls.update(text.calls)
        for macro, pattern in text.macros:
            macros.setdefault(macro, set()).add(pattern)
        found = {
            (_beside(path, name) if beside and path else None) or _find(name, directories)
            for beside, name in text.includes
        }
        if not waiting:  # by macros, once all definitions so far are known
            patterns = [pattern.format(argument) for macro, argument in calls for pattern in macros.get(macro, ())]
            found.update(_find(name, directories) for name in patterns)
        for each in found:
            if each is not None and each not in reached:
                reached.add(each)
                waiting.append((each, _text(each)))
    return reached


def _searched(source: _Text, reached: set[str], directories: tuple[str, ...]) -> set[str]:
    """Every directory in which a new file could be found instead of one that was reached."""
    found: set[str] = set()
    for path, text in ((None, source), *((each, _text(each)) for each in reached)):
        for beside, name in text.includes:
            places = (*directories, *((str(Path(path).parent),) if beside and path else ()))
            found.update(os.path.normpath(f"{place}/{name}/..") for place in places)
    found.update(directories)
    return {_existing(each) for each in found}


def _existing(directory: str) -> str:
    """A directory, or the nearest one above it that exists: a new one changes its time."""
    while not Path(directory).is_dir() and directory != "/":
        directory = str(Path(directory).parent)
    return directory


@cache
def _text(path: str) -> _Text:
    return _Text.read(_read(path))


@cache
def _content(path: str) -> str:
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


@cache
def _find(name: str, directories: tuple[str, ...]) -> str | None:
    return next((found for directory in directories if (found := _file(directory, name))), None)


@cache
def _beside(path: str, name: str) -> str | None:
    return _file(str(Path(path).parent), name)


def _file(directory: str, name: str) -> str | None:
    path = os.path.normpath(Path(directory, name))
    return path if Path(path).is_file() else None


def _name_in(path: str, directories: tuple[str, ...]) -> str | None:
    """The name of a file relative to the innermost directory that holds it."""
    holding = [directory for directory in directories if path.startswith(os.path.normpath(directory) + os.sep)]
    return os.path.relpath(path, max(holding, key=len)) if holding else None
