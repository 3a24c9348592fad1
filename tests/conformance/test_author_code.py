"""Whose code a frame is."""

from __future__ import annotations

import torch

import kregistry.conformance.run
from kregistry.conformance.author_code import is_authors


def test_code_of_kregistry_and_torch_is_not_the_authors() -> None:
    assert not is_authors(kregistry.conformance.run.__file__)
    assert not is_authors(torch.nn.__file__)
    assert is_authors(__file__)


def test_a_project_may_be_named_as_kregistry_or_torch_is() -> None:
    assert is_authors("/home/author/kregistry/kernel_type.py")
    assert is_authors("/home/author/torch/kernel_type.py")
