"""The model families of installed distributions.

An entry point of the group ``kregistry.model_families`` names one :class:`~kregistry.hf_config.model_family.Family`.
"""

from __future__ import annotations

from attrs import frozen

from kregistry.entry_points import Provider, load_group
from kregistry.errors import PluginError
from kregistry.hf_config.model_family import Family, declaration_fault

ENTRY_POINT_GROUP = "kregistry.model_families"


@frozen
class InstalledFamilies:
    """The usable families in the order in which they were found, and the errors of the others."""

    families: tuple[Family, ...]
    broken: tuple[PluginError, ...]


def installed_families() -> InstalledFamilies:
    """Load every family. One that cannot be imported or is declared wrongly gives an error; the others are used."""
    families: list[Family] = []
    broken: list[PluginError] = []
    for provider, found in load_group(ENTRY_POINT_GROUP):
        try:
            families.append(_checked(found, provider))
        except PluginError as error:
            broken.append(error)
    return InstalledFamilies(tuple(families), tuple(broken))


def _checked(found: object, provider: Provider) -> Family:
    if isinstance(found, PluginError):
        raise found
    if not isinstance(found, Family):
        raise provider.error(f"an entry point of {ENTRY_POINT_GROUP} must name a Family object, got {found!r}")
    fault = declaration_fault(found)
    if fault:
        raise provider.error(fault)
    return found
