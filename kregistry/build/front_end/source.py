"""Sources: what a generated kernel.cu includes and which kernel it asks for, and one source that asks for several."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

#: Name of the table by which the compiler itself says which mangled name belongs to which kernel.
TABLE = "kregistry_entries"

_INSTANTIATION = re.compile(
    r"(?P<prologue>.*?)"
    r"^static void __instantiate_kernel\(\) \{\s*"
    r"auto ptr = reinterpret_cast<void\*>\((?P<reference>&[^;{}]*)\);\s*"
    r"\};?\s*\Z",
    re.DOTALL | re.MULTILINE,
)


@frozen
class Instantiation:
    """A kernel.cu taken apart.

    Attributes:
        prologue: everything before the one function: includes and ``using``.
        reference: the kernel, e.g. ``&gemm<128, 64>``.
    """

    prologue: str
    reference: str


def parse_source(source: str) -> Instantiation | None:
    """Take a generated source apart; ``None`` if it has another form than DeepGEMM's."""
    match = _INSTANTIATION.fullmatch(source)
    return Instantiation(match["prologue"], match["reference"]) if match else None


def group_source(prologue: str, references: Iterable[str]) -> str:
    """One source with several kernels, each referenced from a table in device memory, in this order."""
    lines = ",\n".join(map(pointer, references))
    return f'{prologue}extern "C" __device__ const void* {TABLE}[] = {{\n{lines}\n}};\n'


def pointer(reference: str) -> str:
    """A kernel as an element of the table."""
    return f"(const void*)({reference})"
