"""Whether front ends are shared, and how much is compared."""

from __future__ import annotations

import os
from collections.abc import Mapping

from attrs import frozen

from kregistry.errors import InputError

#: If this variable is set, and neither empty nor 0, nvcc compiles every kernel on its own.
VARIABLE = "KREGISTRY_NO_SHARED_FRONT_END"


@frozen
class SharingOptions:
    """How front ends are shared.

    Attributes:
        shared: whether kernels of a family share a front end.
        paranoid: whether every kernel of a shared front end is compared with the one that nvcc makes alone, instead of
            one kernel per family.
    """

    shared: bool = True
    paranoid: bool = False

    @classmethod
    def choose(cls, shared: bool | None, paranoid: bool, environment: Mapping[str, str] = os.environ) -> SharingOptions:
        """Take what is asked for, and for ``None`` what the environment says.

        Raises:
            InputError: ``paranoid`` is asked for, but front ends are not shared, so nothing can be compared.
        """
        if shared is None:
            shared = environment.get(VARIABLE, "") in ("", "0")
        if paranoid and not shared:
            raise InputError(
                "paranoid compares shared front ends, and none are shared",
                f"leave out --paranoid, or --no-shared-front-end and {VARIABLE}",
            )
        return cls(shared, paranoid)
