"""The pytest plugin of the conformance kit. At import it needs only pytest and the standard library.

It provides parameters and fixtures for the tests of :class:`kregistry.conformance.KernelTypeConformance`. Without the
plugin these tests are errors; they never pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kregistry.conformance.machine import Machine
    from kregistry.conformance.run import ConformanceRun

_RECORDS = pytest.StashKey[list[Any]]()
_MISSING_FIXTURE = """the conformance kit needs a fixture `kernel_type` in the test module:

    import pytest
    from my_plugin import MyGemm

    @pytest.fixture
    def kernel_type():
        return MyGemm()
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kregistry", "conformance of kernel types")
    group.addoption(
        "--kregistry-require",
        choices=("stub", "gpu"),
        help="fail instead of skipping rules if this machine cannot run this level or one before it",
    )
    group.addoption("--kregistry-report", type=Path, metavar="FILE", help="write the outcome of each rule as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RECORDS] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.cls is None or "kregistry_check" not in metafunc.fixturenames:
        return
    from kregistry.conformance.rules import RULES

    checks = [check for rule in RULES.values() for check in rule.checks()]
    metafunc.parametrize("kregistry_check", checks, ids=[check.id for check in checks])


@pytest.fixture
def kernel_type() -> Any:
    """The kernel type under test; every test module defines its own."""
    pytest.fail(_MISSING_FIXTURE, pytrace=False)


@pytest.fixture(scope="session")
def kregistry_machine() -> Iterator[Machine]:
    """The machine of the session; it keeps child processes on the stub GPU until the session ends."""
    from kregistry.conformance import Machine

    with Machine() as machine:
        yield machine


@pytest.fixture(scope="session")
def kregistry_examinations() -> dict[Any, ConformanceRun]:
    """Runs by class and attributes of the kernel type, since a fixture may create a new object for each test."""
    return {}


@pytest.fixture
def kregistry_examination(
    request: pytest.FixtureRequest,
    kernel_type: Any,
    kregistry_machine: Machine,
    kregistry_examinations: dict[Any, ConformanceRun],
) -> ConformanceRun:
    """The conformance run of ``kernel_type``."""
    from kregistry import KernelType
    from kregistry.conformance.rule import Level
    from kregistry.conformance.run import ConformanceRun

    if not isinstance(kernel_type, KernelType):
        pytest.fail(f"the fixture kernel_type returned {kernel_type!r}, expected a KernelType object", pytrace=False)
    required = Level[(request.config.getoption("kregistry_require") or "anywhere").upper()]
    key = (type(kernel_type), repr(sorted(vars(kernel_type).items())))
    if key not in kregistry_examinations:
        kregistry_examinations[key] = ConformanceRun(kernel_type, kregistry_machine, required)
    return kregistry_examinations[key]


class _Collector:
    """Collects the records from test reports, also from the workers of pytest-xdist."""

    def __init__(self, records: list[Any]) -> None:
        self.records = records

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.records.extend(value for name, value in report.user_properties if name == "kregistry_conformance")


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.pluginmanager.register(_Collector(session.config.stash[_RECORDS]), "kregistry-collector")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    records = config.stash[_RECORDS]
    report: Path | None = config.getoption("kregistry_report")
    if report is not None:
        from kregistry.conformance.report import write_report

        write_report(records, report)
    if not records:
        return
    from kregistry.conformance.report import skip_reasons, table

    terminalreporter.section("kregistry conformance")
    for name, origin, passed, failed, skipped, unproved, known in table(records):
        counts = f"{passed} passed, {failed} failed, {unproved} not proved, {skipped} skipped, {known} known failures"
        text = f"{name} ({origin}): {counts}"
        terminalreporter.write_line(text, red=failed != "0", green=failed == "0")
    for line in skip_reasons(records):
        terminalreporter.write_line(line)
