"""Which test started each child process of this one.

Python complains about a process that nobody has waited for when its object is collected. That may be many tests later,
and the test that runs then fails. Its report also names the test that started the process.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

_OPEN = re.compile(r"subprocess (\d+) is still running")
_STARTED = pytest.StashKey[dict[int, str]]()
_SEEN = pytest.StashKey[set[int]]()


def children() -> set[int]:
    """The processes that this one has started and not yet waited for; none where the kernel does not say."""
    found: set[int] = set()
    with suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            with suppress(OSError):  # the thread has ended
                found.update(map(int, (task / "children").read_text().split()))
    return found


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_STARTED] = {}
    config.stash[_SEEN] = children()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    try:
        return (yield)
    finally:
        now = children()
        item.config.stash[_STARTED].update(dict.fromkeys(now - item.config.stash[_SEEN], item.nodeid))
        item.config.stash[_SEEN] = now


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        started = item.config.stash[_STARTED]
        for number in sorted({int(each) for each in _OPEN.findall(report.longreprtext)} & set(started)):
            report.sections.append(("A process that nobody waited for", f"process {number}: {started[number]}"))
    return report
