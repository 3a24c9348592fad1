"""A remote tier in memory, which fails if a test wants it to."""

from __future__ import annotations

from kregistry.remote.tier import Tier, TierError


class MemoryTier(Tier):
    """Objects in a dictionary; ``broken`` makes every request fail."""

    def __init__(self, name: str = "memory", *, read_only: bool = False, broken: bool = False) -> None:
        self.name, self.read_only, self.broken = name, read_only, broken
        self.objects: dict[str, bytes] = {}
        self.requests = 0

    def get(self, name: str) -> bytes | None:
        self._begin()
        return self.objects.get(name)

    def put(self, name: str, content: bytes) -> None:
        self._begin()
        assert not self.read_only
        self.objects[name] = content

    def has(self, name: str) -> bool:
        self._begin()
        return name in self.objects

    def _begin(self) -> None:
        self.requests += 1
        if self.broken:
            raise TierError("no answer")
