"""Versions of DeepGEMM that a kernel type names: where it works, and what they do."""

from __future__ import annotations

import re

from attrs import frozen

_SPECIFIER = re.compile(
    r" *(~=|===?|!=|<=?|>=?) *\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9.]+)?(\.\*)? *", re.IGNORECASE
)


@frozen
class ArchSupport:
    """Whether a kernel type works on one arch.

    Attributes:
        arch: ``"sm90"``, ``"sm100"``, ``"sm120"``.
        deep_gemm: PEP 440 specifier of the DeepGEMM versions that support it; empty: all; ``"none"``: no version.
        reason: why the other versions do not support it; shown to the user.
    """

    arch: str
    deep_gemm: str = ""
    reason: str = ""


def version_applies(specifier: str, version: str) -> bool:
    """Whether a PEP 440 specifier, or ``"none"``, holds for a version."""
    from packaging.specifiers import SpecifierSet

    return specifier != "none" and SpecifierSet(specifier).contains(version, prereleases=True)


def is_specifier(text: object) -> bool:
    """Whether it is a PEP 440 specifier, or empty. `kregistry list` asks without the import of ``packaging``."""
    return text == "" or (isinstance(text, str) and all(map(_SPECIFIER.fullmatch, text.split(","))))
