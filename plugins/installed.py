"""The version of the installed DeepGEMM, for differences between versions that no argument shows."""

from __future__ import annotations

from functools import lru_cache

from kregistry import deep_gemm_version


@lru_cache(maxsize=1)
def is_first_series() -> bool:
    """Whether DeepGEMM 0.1 is installed; false if there is no DeepGEMM, or if it states no version."""
    return (deep_gemm_version() or "").startswith("0.1.")


@lru_cache(maxsize=1)
def is_sglangs() -> bool:
    """Whether DeepGEMM 0.x is installed, as SGLang ships it; false for 2.x, of which vLLM bundles one, and for none."""
    return (deep_gemm_version() or "").startswith("0.")
