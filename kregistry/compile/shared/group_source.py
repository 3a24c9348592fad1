"""One source that asks for several kernels of a family."""

from __future__ import annotations

from collections.abc import Iterable

#: Name of the table by which the compiler itself says which mangled name belongs to which kernel.
TABLE = "kregistry_entries"
#: Stands behind the headers while they are preprocessed.
END_OF_HEADERS = "kregistry_end_of_headers"
#: Stands for the kernels until they are known. A macro in the name of a kernel stays as it is then: the front end finds
#: no such kernel, and it is compiled alone.
KERNELS = "kregistry_kernels"


def group_source(prologue: str) -> str:
    """One source for any kernels of a family, with a mark behind its headers and one in the place of the kernels."""
    return f'{prologue}\n{END_OF_HEADERS}\nextern "C" __device__ const void* {TABLE}[] = {{\n{KERNELS}\n}};\n'


def table(references: Iterable[str]) -> str:
    """What stands for :data:`KERNELS`: each kernel referenced from a table in device memory, in this order."""
    return ",\n".join(f"(const void*)({reference})" for reference in references)
