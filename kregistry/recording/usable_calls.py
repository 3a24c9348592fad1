"""Which recorded calls a manifest can hold: a line that a disk or an editor has changed costs that call only."""

from __future__ import annotations

from collections.abc import Iterable

from kregistry.errors import KregistryError, shorten
from kregistry.recording.manifest_building import KernelTypes
from kregistry.recording.recorded_call import Recorded
from kregistry.target import Target


def usable_calls(
    calls: Iterable[Recorded], kernel_types: KernelTypes, target: Target
) -> tuple[tuple[Recorded, ...], tuple[str, ...]]:
    """The calls that their kernel types accept, and why each of the others is left out."""
    usable: list[Recorded] = []
    refused: list[str] = []
    for call in calls:
        try:
            kernel_types(call.kernel_type).resolve(call.shape, target)
        except KregistryError as error:
            refused.append(shorten(" ".join(error.message.split()), 400))
        else:
            usable.append(call)
    return tuple(usable), tuple(refused)
