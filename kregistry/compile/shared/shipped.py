"""What a build takes from the package: kernels that are known before the dry run, and results of self-checks."""

from __future__ import annotations

import os
from collections.abc import Mapping

#: If this variable is set, and neither empty nor 0, a build finds out everything by itself.
VARIABLE = "KREGISTRY_NO_SHIPPED"
KERNELS, CHECKS = "kernels", "checks"
#: Which headers a kernel type needs: only left out with everything else.
FAMILIES = "families"


def is_used(what: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a build uses what ships: the variable names what it does not use, and 1 stands for all."""
    value = environment.get(VARIABLE, "")
    return value in ("", "0") or (value in (KERNELS, CHECKS) and value != what)
