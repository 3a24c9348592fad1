"""Which of the two stacks the tests run on: the catalogue differs between DeepGEMM 0.1 and 0.2."""

from __future__ import annotations

from packaging.version import Version

from kregistry.toolchain import require_deep_gemm

#: DeepGEMM of stack A and of stack B (docs/stacks.md), by the part of the version that expectations are kept for.
VERSIONS = {"0.1": "0.1.4.post1", "0.2": "0.2.3.post2"}


#: DeepGEMM of stack C, for which only the names are tested, and a build.
NAMES_ONLY = "0.2.5"


def installed_version() -> str:
    """The version of DeepGEMM, one of those that the lists of its functions are kept for."""
    found = require_deep_gemm()
    known = (*VERSIONS.values(), NAMES_ONLY)
    assert found in known, f"the functions are listed for DeepGEMM {', '.join(known)}, found {found}"
    return found


def installed_stack() -> str:
    """``"0.1"`` or ``"0.2"``; expectations are for exactly the pinned versions."""
    found = require_deep_gemm()
    stack = ".".join(map(str, Version(found).release[:2]))
    assert VERSIONS.get(stack) == found, f"expectations are kept for DeepGEMM {VERSIONS}, found {found}"
    return stack
