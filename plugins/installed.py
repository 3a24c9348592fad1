"""The DeepGEMM of this environment, for what differs between its versions and no argument tells."""

from __future__ import annotations

from functools import lru_cache

from kregistry import deep_gemm_version


@lru_cache(maxsize=1)
def is_first_series() -> bool:
    """Whether it is 0.1; without DeepGEMM, and if it states no version, the answer is that of later ones."""
    return (deep_gemm_version() or "").startswith("0.1.")
