"""The DeepGEMM of this environment, for what differs between its versions and no argument tells."""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata


@lru_cache(maxsize=1)
def is_first_series() -> bool:
    """Whether it is 0.1; where no distribution says, and where there is none, the answer is that of later ones."""
    try:
        return metadata.version("sgl-deep-gemm").startswith("0.1.")
    except metadata.PackageNotFoundError:
        return False
