"""How a tier was used: what a command has counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, field

from kregistry.remote.counts import add_counts, seconds_count, whole_counts

#: The counts that are added up over commands, besides the seconds.
COUNTS = ("hits", "misses", "written", "wrong", "not_taken", "errors", "bytes_read", "bytes_written")


@define
class TierUse:
    """How a tier was used: where the time of a slow start went.

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

    @property
    def asked(self) -> bool:
        """Whether anything was counted."""
        return any(getattr(self, count) for count in COUNTS)

    def add(self, other: TierUse) -> None:
        """Add the counts of another command to these."""
        add_counts(self, other, (*COUNTS, "seconds"))

    def to_json(self) -> dict[str, Any]:
        """The counts."""
        return {**{count: getattr(self, count) for count in COUNTS}, "seconds": round(self.seconds, 3)}

    @classmethod
    def from_json(cls, name: str, content: Any) -> TierUse:
        """
        Raises:
            ValueError, TypeError, KeyError, AttributeError, OverflowError: it is not what :meth:`to_json` gives.
        """
        # Some counts are newer than files of earlier versions.
        counts: Mapping[str, Any] = whole_counts(content, COUNTS, default=0)
        return cls(name, **counts, seconds=seconds_count(content, "seconds"))

    def summary(self) -> str:
        """One line."""
        if not self.asked:
            return f"{self.name}: not asked"
        parts = [f"{self.hits} hits", f"{self.misses} misses", f"{self.written} written"]
        parts += [f"{count} {word}" for count, word in ((self.wrong, "wrong"), (self.errors, "errors")) if count]
        parts += [f"{count} refused ({outcome})" for outcome, count in self.refused.items()]
        line = f"{self.name}: {', '.join(parts)}, {self.bytes_read + self.bytes_written} bytes, {self.seconds:.2f} s"
        return f"{line}; not asked any more after: {self.last_error}" if self.off else line
