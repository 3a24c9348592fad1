"""Patches: what is replaced in an engine, so that it runs on the stub GPU in one process.

Each patch is one named function with the versions of the package that it was written for. It replaces functions with
:func:`replace`, which refuses if the function is not there any more or has other parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from importlib import metadata
from typing import Any

from attrs import frozen
from packaging.specifiers import SpecifierSet


class PatchError(Exception):
    """A patch does not fit the installed version of its package."""


@frozen
class Patch:
    """One patch.

    Attributes:
        name: the name of its function.
        package: the package that it changes, as pip calls it.
        why: what would go wrong without it; the first line of its docstring.
        apply: makes the change, in a process that does nothing but rehearse.
        versions: the versions of the package that need it in this form.
    """

    name: str
    package: str
    why: str
    apply: Callable[[], None]
    versions: SpecifierSet


def patch(package: str, versions: str = "") -> Callable[[Callable[[], None]], Patch]:
    """Declare a function as a patch of a package.

    Args:
        package: the package that it changes, as pip calls it.
        versions: the versions that need it in this form, e.g. ``<=0.5.16``; empty: every version.
    """

    def declare(function: Callable[[], None]) -> Patch:
        why = (function.__doc__ or "").strip().partition("\n")[0]
        return Patch(function.__name__, package, why, function, SpecifierSet(versions))

    return declare


def apply(patches: Iterable[Patch]) -> None:
    """Apply the patches that the installed versions need.

    Raises:
        PatchError: a patch does not fit the installed version.
    """
    for each in patches:
        if str(each.versions) and not each.versions.contains(metadata.version(each.package), prereleases=True):
            continue
        try:
            each.apply()
        except (ImportError, AttributeError, TypeError) as error:
            text = f"the patch {each.name} does not fit the installed {each.package}"
            raise PatchError(f"{text}: {type(error).__name__}: {error}") from error


def replace(owner: Any, name: str, new: Any, *, parameters: str | None = None) -> Any:
    """Replace a function or class of a module or class, and return the old one.

    Args:
        owner: the module or class.
        name: the attribute.
        new: what takes its place.
        parameters: the names of its parameters as the patch knows them, separated by blanks; ``None``: not checked.

    Raises:
        AttributeError: there is no such attribute.
        TypeError: its parameters are others.
    """
    old = inspect.getattr_static(owner, name)
    function = getattr(owner, name)
    if parameters is not None:
        found = " ".join(inspect.signature(function).parameters)
        if found != parameters:
            place = f"{getattr(owner, '__module__', '')}.{owner.__name__}".lstrip(".")
            raise TypeError(f"{place}.{name} has the parameters ({found}), and the patch knows ({parameters})")
    setattr(owner, name, staticmethod(new) if isinstance(old, staticmethod) else new)
    return function
