"""Whether front ends are shared, and how much is compared."""

from __future__ import annotations

import os
from collections.abc import Mapping

from attrs import frozen

from kregistry.errors import InputError

#: Set to anything but 0 or nothing: every kernel is compiled by nvcc alone.
VARIABLE = "KREGISTRY_NO_SHARED_FRONT_END"


@frozen
class FrontEndOptions:
    """
    Attributes:
        shared: whether kernels of a family share a front end.
        paranoid: whether every kernel made so is compared with the one that nvcc makes alone, not one of each family.
    """

    shared: bool = True
    paranoid: bool = False

    @classmethod
    def choose(
        cls, shared: bool | None, paranoid: bool, environment: Mapping[str, str] = os.environ
    ) -> FrontEndOptions:
        """As asked for; where nothing is asked for (``None``), as the environment says.

        Raises:
            InputError: nothing is shared that could be compared.
        """
        if shared is None:
            shared = environment.get(VARIABLE, "") in ("", "0")
        if paranoid and not shared:
            raise InputError(
                "paranoid compares shared front ends, and none are shared",
                f"leave out --paranoid, or --no-shared-front-end and {VARIABLE}",
            )
        return cls(shared, paranoid)
