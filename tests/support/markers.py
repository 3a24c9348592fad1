"""What each test needs, as markers: read off its fixtures, its module and its directory, so that none is forgotten.

A test that needs more than these rules can see bears the marker itself. The rules are checked where a need is not met:
tests/packaging runs what is left by ``-m "not stub and not nvcc and not slow"`` in an environment without torch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).resolve().parent.parent

#: Directory of tests -> what all tests below it need.
DIRECTORIES = {
    "conformance": ("stub",),
    "end_to_end": ("stub", "nvcc"),
    "gpu": ("gpu", "stub"),  # torch and DeepGEMM, on a real device
    "packaging": ("slow",),
    "plugins": ("stub",),
}
#: Fixture, also one that another fixture asks for -> what it needs.
FIXTURES = {
    "build": ("nvcc",),
    "cubins": ("nvcc",),
    "tiny_build": ("nvcc",),
    "toolchain": ("stub",),
    "warm_up": ("nvcc",),
}
#: Module -> what a test module that imports it, or a function from it, needs.
MODULES = {"torch": ("stub",), "deep_gemm": ("stub",), "on_stub": ("stub",), "engine_on_stub": ("stub", "nvcc")}

_IMPORTS_TORCH = re.compile(r"^torch = pytest\.importorskip\(\"torch\"\)$", re.MULTILINE)

#: How long a test of these kinds may take; all others have the limit of pyproject.toml.
SECONDS = {"slow": 1800, "engines": 900, "gpu": 900}


def needs(item: pytest.Item) -> set[str]:
    """What the rules say that a test needs; markers that it bears come on top."""
    found: set[str] = set()
    directory, *below = item.path.relative_to(TESTS).parts if item.path.is_relative_to(TESTS) else ("",)
    if below:
        found.update(DIRECTORIES.get(directory, ()))
    for name in getattr(item, "fixturenames", ()):
        found.update(FIXTURES.get(name, ()))
    for name in _imports(getattr(item, "module", None)):
        found.update(MODULES.get(name, ()))
    if item.get_closest_marker("engines"):  # engines run on the stub
        found.add("stub")
    return found


@cache
def _imports(module: ModuleType | None) -> set[str]:
    """Modules that a module has by their name, and those whose functions it has."""
    values = vars(module).values() if module else ()
    return {each.__name__ if isinstance(each, ModuleType) else getattr(each, "__module__", "") for each in values}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import nothing whose tests are all left out by ``-m``: directories, and modules that import torch for all."""
    expression = config.option.markexpr
    words = expression.split(" and ") if not {"or", "("} & set(expression.replace("(", " ( ").split()) else []
    below_tests = DIRECTORIES.get(collection_path.name, ()) if collection_path.parent == TESTS else ()
    return any(f"not {need}" in words for need in (*below_tests, *_needs_of_all(collection_path))) or None


def _needs_of_all(path: Path) -> tuple[str, ...]:
    """What every test of a module needs that cannot be imported without torch; read off its text."""
    found = path.suffix == ".py" and _IMPORTS_TORCH.search(path.read_text(encoding="utf-8"))
    return MODULES["torch"] if found else ()


@pytest.hookimpl(tryfirst=True)  # before pytest selects by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in sorted(needs(item)):
            item.add_marker(name)
        longest = max((seconds for name, seconds in SECONDS.items() if item.get_closest_marker(name)), default=0)
        if longest and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(longest))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that is skipped although KREGISTRY_REQUIRE names a marker of it: CI has what it needs."""
    report = yield
    required = [name for name in os.environ.get("KREGISTRY_REQUIRE", "").split(",") if item.get_closest_marker(name)]
    if report.skipped and not hasattr(report, "wasxfail") and required:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, but KREGISTRY_REQUIRE={','.join(required)}: {reason}"
    return report
