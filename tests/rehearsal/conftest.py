"""Engines that are imported once for many rehearsals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tools.forked_rehearsals import ForkedRehearsals


@pytest.fixture(scope="session")
def _forks() -> Iterator[ForkedRehearsals]:
    with ForkedRehearsals() as forks:
        yield forks


@pytest.fixture
def engine_imported_once(_forks: ForkedRehearsals) -> Iterator[None]:
    """Rehearsals of this test are forks of a process that has imported the engine."""
    with _forks.used():
        yield
