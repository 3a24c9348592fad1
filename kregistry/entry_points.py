"""Loads the entry points of installed distributions; one that cannot be loaded gives an error with the reason."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from importlib import metadata

from attrs import frozen

from kregistry.errors import PluginError, describe_error, place_of

#: A requirement of kregistry itself, whatever its version and extras.
_NAME = re.compile(r"kregistry\s*($|[\[(<>=!~;@ ])", re.IGNORECASE)


@frozen
class Provider:
    """The provider of a kernel type: a plugin, and the distribution that installed it."""

    plugin: str
    distribution: str
    version: str

    @classmethod
    def of_this_process(cls, plugin: object, name: str | None = None) -> Provider:
        """The provider of an object of this process; its name defaults to that of the module or class."""
        try:
            own_name = getattr(plugin, "__name__", None)
        except Exception:  # a __getattr__ of the plugin
            own_name = None
        if not isinstance(own_name, str):
            own_name = type(plugin).__name__
        return cls(name or own_name, "this process", "")

    @property
    def origin(self) -> str:
        """``"(DISTRIBUTION VERSION)"``"""
        return f"({self.distribution} {self.version})" if self.version else f"({self.distribution})"

    def __str__(self) -> str:
        return f"{self.plugin} {self.origin}"

    def error(self, text: str, hint: str = "") -> PluginError:
        """The error of a plugin that broke its contract."""
        return PluginError(self.plugin, self.origin, text, hint)


#: CPU time that the first import of each plugin of this process took, in seconds.
import_seconds: dict[Provider, float] = {}


def load_group(group: str) -> Iterator[tuple[Provider, object]]:
    """Each entry point of a group as (provider, loaded object).

    If an import fails, with any exception other than ``KeyboardInterrupt``, the pair holds a :class:`PluginError` in
    place of the object, and the other entry points are still loaded.
    """
    origins: dict[object, tuple[str, str]] = {}  # a distribution reads its metadata anew each time
    for entry_point in metadata.entry_points(group=group):
        dist = entry_point.dist
        if dist not in origins:
            origins[dist] = (dist.name, dist.version) if dist else ("?", "?")
        provider = Provider(entry_point.name, *origins[dist])
        started = time.process_time()
        try:
            loaded = entry_point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # sys.exit() and asyncio.CancelledError included
            loaded = provider.error(f"cannot be imported: {describe_error(error)} ({place_of(error)})")
        import_seconds[provider] = time.process_time() - started
        yield provider, loaded


def without_entry_points(group: str) -> tuple[str, ...]:
    """Distributions that need kregistry, or are kregistry, and whose metadata offers nothing in a group or below it.

    Their modules may hold plugins: an editable install from before the entry points were written, for instance, or a
    copy without ``entry_points.txt``. Each is given as ``"NAME VERSION"``.
    """
    found: dict[str, None] = {}
    for dist in metadata.distributions():
        try:
            name, requires = dist.name, dist.requires or ()
            offers = any(each.group == group or each.group.startswith(f"{group}.") for each in dist.entry_points)
            version = dist.version
        except Exception:  # metadata that cannot be read belongs to nobody's plugin
            continue
        needs = any(_NAME.match(each.strip()) for each in requires)
        if not offers and (needs or name == "kregistry"):
            found[f"{name} {version}"] = None
    return tuple(found)


def note_of_missing_plugins(group: str) -> str:
    """A sentence about :func:`without_entry_points`; empty if there are none."""
    found = without_entry_points(group)
    if not found:
        return ""
    verb = "needs" if len(found) == 1 else "need"
    return f"{', '.join(found)} {verb} kregistry, but the installed metadata names no plugin of it: install it again"
