"""A name that does not exist, or that two plugins offer."""

from __future__ import annotations

from attrs import define

from kregistry.errors.base import InputError
from kregistry.errors.wording import nearest_hint, quoted


@define
class UnknownNameError(InputError):
    """A name that is not known. ``unread``: where else it may be known, but could not be read."""

    kind: str
    name: str
    known: tuple[str, ...] = ()
    note: str = ""
    unread: str = ""

    @property
    def message(self) -> str:
        return f"unknown {self.kind} {quoted(self.name)}"

    @property
    def hint(self) -> str:  # type: ignore[override]
        if self.unread:  # only a slip of the finger is worth a guess: the name may well be right
            near = nearest_hint(self.name, self.known, self.kind, cutoff=0.85)
            parts = [self.unread, near if near.startswith("did you mean") else "", self.note]
        else:
            parts = [nearest_hint(self.name, self.known, self.kind), self.note]
        return "; ".join(filter(None, parts))


@define
class UnknownArchitectureError(UnknownNameError):
    """``kregistry init`` has no formulas for a model; ``reason`` says what is known of it, and may be empty."""

    reason: str = ""

    @property
    def hint(self) -> str:  # type: ignore[override]
        # Only another spelling is offered: shapes of a model with a similar name would be wrong.
        spelled = [name for name in self.known if name.casefold() == self.name.casefold()]
        if spelled:
            return f"did you mean {spelled[0]!r}?"
        said = f"{self.reason}; " if self.reason else ""
        return (
            f"{said}known: {', '.join(sorted(self.known))}; for another model, let the engine show its calls: "
            "`kregistry rehearse` runs it on the stub GPU, `kregistry record` watches a server"
        )


@define
class ProviderConflictError(InputError):
    """Two or more plugins offer a kernel type of the same name."""

    kernel_type: str
    providers: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"kernel type {self.kernel_type!r} is provided by {' and by '.join(self.providers)}"

    @property
    def hint(self) -> str:  # type: ignore[override]
        plugin, _, origin = self.providers[-1].partition(" ")
        if any(other.partition(" ")[0] == plugin for other in self.providers[:-1]):
            plugin = origin.strip("()").partition(" ")[0]  # two plugins of one name differ by distribution
        return (
            f"choose one: --plugin {self.kernel_type}={plugin}, "
            f"or in the manifest `providers: {{{self.kernel_type}: {plugin}}}`"
        )
