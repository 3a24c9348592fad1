"""Kernel types on their way to a process on the stub GPU: pickled, as text."""

from __future__ import annotations

import base64
import pickle

from kregistry.errors import describe_error
from kregistry.kernel_type import KernelType


class NotPicklable(Exception):
    """A kernel type that cannot be pickled, so that no other process can have it."""


def pickle_kernel_type(kernel_type: KernelType) -> str:
    """A kernel type as text.

    Raises:
        NotPicklable: pickle refuses it; in most cases its class is not at the top level of a module.
    """
    try:
        return base64.b64encode(pickle.dumps(kernel_type)).decode()
    except Exception as error:  # a class may raise anything while it is pickled
        raise NotPicklable(describe_error(error)) from error


def unpickle_kernel_type(text: str) -> KernelType:
    """The kernel type again, in another process; raises what the import of its module raises."""
    kernel_type: KernelType = pickle.loads(base64.b64decode(text))
    return kernel_type


def why_not_importable(kernel_type: KernelType, cause: str) -> str:
    """The message where another process could not unpickle a kernel type."""
    place = type(kernel_type)
    return (
        f"a new process cannot import its class {place.__module__}.{place.__qualname__} ({cause}): the module must be "
        "installed, or in a directory that PYTHONPATH names by its absolute path; the current directory is not searched"
    )
