"""Kernel types as text, and what is said of those that cannot be sent."""

from __future__ import annotations

import pytest
from sample_kernel_types import Prenorm

from kregistry.stub.pickling import NotPicklable, pickle_kernel_type, unpickle_kernel_type, why_not_importable


def test_a_kernel_type_comes_back() -> None:
    text = pickle_kernel_type(Prenorm())
    assert text.isascii() and "\n" not in text
    assert type(unpickle_kernel_type(text)) is Prenorm


def test_a_class_inside_a_function_cannot_be_sent() -> None:
    class Local(Prenorm):
        pass

    with pytest.raises(NotPicklable, match=r"AttributeError: Can't (pickle|get) local object"):
        pickle_kernel_type(Local())


def test_a_class_that_another_process_cannot_import_is_named() -> None:
    assert why_not_importable(Prenorm(), "ModuleNotFoundError: x").startswith(
        "a new process cannot import its class sample_kernel_types.Prenorm (ModuleNotFoundError: x): "
    )
