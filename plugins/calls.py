"""Real calls of a function that several kernel types claim: each takes its own, and refuses those of the others."""

from __future__ import annotations

from collections.abc import Collection

from kregistry import ShapeError


def belongs(kernel_type: str, argument: str, found: object, expected: Collection[object]) -> None:
    """Refuse a call whose argument is none of those expected.

    Raises:
        ShapeError: naming the argument, what was found and what was expected.
    """
    if found not in expected:
        words = " or ".join(str(each) for each in expected)
        hint = "the call belongs to another kernel type of the same function, or to none"
        raise ShapeError(kernel_type, "", f"a call with {argument} = {found}, expected {words}", hint)


def recipe_of(recipe: Collection[int] | None) -> tuple[int, ...] | None:
    """A recipe as a tuple, however the caller wrote it."""
    return None if recipe is None else tuple(recipe)


def dtype_of(tensor: object) -> str:
    """Name of the dtype of a tensor."""
    return str(getattr(tensor, "dtype", None)).removeprefix("torch.")
