"""Sources: parse a generated kernel.cu, and write one source that instantiates several kernels."""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

#: Name of the table by which the compiler itself says which mangled name belongs to which kernel.
TABLE = "kregistry_entries"
#: Marks the end of the headers while they are preprocessed.
END_OF_HEADERS = "kregistry_end_of_headers"
#: Stands for the kernels until they are known. The preprocessor has run by then, so a macro in the name of a kernel is
#: not expanded: the front end finds no such kernel, and nvcc compiles it alone.
KERNELS = "kregistry_kernels"

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


def group_source(prologue: str) -> str:
    """One source for any kernels of a family: a mark follows the headers, and another stands for the kernels."""
    return f'{prologue}\n{END_OF_HEADERS}\nextern "C" __device__ const void* {TABLE}[] = {{\n{KERNELS}\n}};\n'


def table(references: Iterable[str]) -> str:
    """The text that replaces :data:`KERNELS`: a table in device memory refers to each kernel, in this order."""
    return ",\n".join(f"(const void*)({reference})" for reference in references)
