"""Checks of real calls, for functions of several kernel types: each accepts its own calls only."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from kregistry import ShapeError

#: ``disable_ue8m0_cast`` is for scale factors that DeepGEMM would convert: SM90 converts none, and SM100 refuses FP32.
#: SM120 runs another kernel for them.
NO_CAST: Mapping[str, tuple[str, ...]] = {"disable_ue8m0_cast": ("sm90", "sm100")}


def belongs(kernel_type: str, argument: str, found: object, expected: Collection[object]) -> None:
    """Refuse a call that belongs to another kernel type.

    Raises:
        ShapeError: ``found`` is not in ``expected``; the text names the argument and both.
    """
    if found not in expected:
        words = " or ".join(str(each) for each in expected)
        hint = "the call belongs to another kernel type of the same function, or to none"
        raise ShapeError(kernel_type, "", f"a call with {argument} = {found}, expected {words}", hint)


def recipe_of(recipe: Collection[int] | None) -> tuple[int, ...] | None:
    """A recipe as a tuple; callers pass tuples or lists."""
    return None if recipe is None else tuple(recipe)


def dtype_of(tensor: object) -> str:
    """Name of the dtype of a tensor."""
    return str(getattr(tensor, "dtype", None)).removeprefix("torch.")
