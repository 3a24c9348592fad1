"""A tier: somewhere else that kernels can be read from, and perhaps written to."""

from __future__ import annotations

from abc import ABC, abstractmethod


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
