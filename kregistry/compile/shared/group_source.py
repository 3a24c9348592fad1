"""One source that instantiates several kernels of a family."""

from __future__ import annotations

from collections.abc import Iterable

#: Name of the table by which the compiler itself says which mangled name belongs to which kernel.
TABLE = "kregistry_entries"
#: Marks the end of the headers while they are preprocessed.
END_OF_HEADERS = "kregistry_end_of_headers"
#: Stands for the kernels until they are known. The preprocessor has run by then, so a macro in the name of a kernel is
#: not expanded: the front end finds no such kernel, and nvcc compiles it alone.
KERNELS = "kregistry_kernels"


def group_source(prologue: str) -> str:
    """One source for any kernels of a family: a mark follows the headers, and another stands for the kernels."""
    return f'{prologue}\n{END_OF_HEADERS}\nextern "C" __device__ const void* {TABLE}[] = {{\n{KERNELS}\n}};\n'


def table(references: Iterable[str]) -> str:
    """The text that replaces :data:`KERNELS`: a table in device memory refers to each kernel, in this order."""
    return ",\n".join(f"(const void*)({reference})" for reference in references)
