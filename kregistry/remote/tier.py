"""A tier: somewhere else that kernels can be read from, and perhaps written to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from attrs import define, field


class TierError(Exception):
    """A tier could not be read or written; the text says why. For a build this is a miss, never a failure."""


class Tier(ABC):
    """What every tier offers. ``kregistry.remote.contract`` tests it.

    Attributes:
        name: for messages: a URL without secrets.
        read_only: :meth:`put` is never called.
    """

    name: str
    read_only: bool

    @abstractmethod
    def get(self, name: str) -> bytes | None:
        """The content of an object, as it came: nobody has checked it. ``None`` if there is no such object.

        Raises:
            TierError: the tier did not answer, or refused.
        """

    @abstractmethod
    def put(self, name: str, content: bytes) -> None:
        """Write an object whole, or not at all. An object that is there is replaced or left.

        Raises:
            TierError: the tier did not answer, or refused.
        """

    @abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is such an object.

        Raises:
            TierError: the tier did not answer, or refused.
        """


@define
class TierUse:
    """How a tier was used, for people who look for the reason of a slow start.

    Attributes:
        hits, misses: objects that were there, and that were not, whether they were read or only asked for.
        written: objects that were written.
        wrong: objects whose content was not what their name says.
        not_taken: objects that were refused because of their signature.
        refused: outcome of a check of a signature -> objects that were not taken because of it.
        errors: requests that failed.
        bytes_read, bytes_written: of the content.
        seconds: in all requests, added up.
        last_error: text of the last failure.
        off: whether it is not asked any more, since it failed too often.
    """

    name: str
    hits: int = 0
    misses: int = 0
    written: int = 0
    wrong: int = 0
    not_taken: int = 0
    errors: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: float = 0.0
    last_error: str = ""
    off: bool = False
    refused: dict[str, int] = field(factory=dict)

    def summary(self) -> str:
        """One line."""
        if not (self.hits or self.misses or self.written or self.wrong or self.errors or self.refused):
            return f"{self.name}: not asked"
        parts = [f"{self.hits} hits", f"{self.misses} misses", f"{self.written} written"]
        parts += [f"{count} {word}" for count, word in ((self.wrong, "wrong"), (self.errors, "errors")) if count]
        parts += [f"{count} refused ({outcome})" for outcome, count in self.refused.items()]
        line = f"{self.name}: {', '.join(parts)}, {self.bytes_read + self.bytes_written} bytes, {self.seconds:.2f} s"
        return f"{line}; not asked any more after: {self.last_error}" if self.off else line


Tiers = Sequence[Tier]
