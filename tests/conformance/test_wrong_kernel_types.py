"""Every rule finds the kernel types that break it, says so in its own words, and lets all others pass."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import wrong_declarations  # noqa: F401 - adds to WRONG
import wrong_launches  # noqa: F401 - adds to WRONG
import wrong_oracles  # noqa: F401 - adds to WRONG
import wrong_plans  # noqa: F401 - adds to WRONG
from good_kernel_types import PlainGemm
from kept_machine import keep_machine
from wrong_kernel_types import WRONG, Wrong

from kregistry.conformance import KernelTypeConformance, examine
from kregistry.conformance.rules import RULES

#: Rules that only a GPU can break; their wrong kernel types need one too.
NEEDS_A_GPU = {"KR306", "KR307", "KR308", "KR309"}

FILE = """
import pytest
from kept_machine import kept_machine
from kregistry.conformance import KernelTypeConformance
from {module} import {name}

@pytest.fixture(scope="session")
def kregistry_machine():
    return kept_machine()

@pytest.fixture
def kernel_type():
    return {name}()

class Test{name}(KernelTypeConformance):
    pass
"""
#: All rules before the one that it breaks are checked on each: the later ones take seconds.
_LONG = ("wrong_declarations",)
HEAVY = Wrong(type("HeavyImport", (), {"__module__": "wrong_heavy_import"}), "KR105", "it also imports torch")  # type: ignore[arg-type]


@pytest.fixture(scope="module", autouse=True)
def imported() -> Iterator[None]:
    """pytester drops what a run imports, and torch cannot be imported twice: import all that a run needs before."""
    import deep_gemm  # noqa: F401 - scopes of kernel types set something in it

    assert issubclass(KernelTypeConformance, object)
    examine(PlainGemm())
    with keep_machine():
        yield


@pytest.fixture(autouse=True)
def _variable_of_a_wrong_kernel_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them sets it; it is not set before, and not after."""
    monkeypatch.setenv("SIZES_WERE_ASKED_FOR", "")
    monkeypatch.delenv("SIZES_WERE_ASKED_FOR")


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(
            each,
            marks=[pytest.mark.slow] * (each.kernel_type.__module__ in _LONG),
            id=f"{each.rule}-{each.kernel_type.__name__}",
        )
        for each in [*WRONG, HEAVY]
    ],
)
def test_just_its_rule_fails_with_its_message(pytester: pytest.Pytester, wrong: Wrong) -> None:
    name, module = wrong.kernel_type.__name__, wrong.kernel_type.__module__
    pytester.makepyfile(FILE.format(module=module, name=name))
    result = pytester.runpytest_inprocess("--kregistry-report=report.jsonl")
    records = [json.loads(line) for line in (pytester.path / "report.jsonl").read_text().splitlines()]
    failures = [each for each in records if each["outcome"] == "failed"]
    assert {each["rule"] for each in failures} == {wrong.rule}, [each["reason"] for each in failures]
    reasons = [each["reason"] for each in failures]
    assert all(re.fullmatch(rf".+: got .+, expected .+ \[{wrong.rule}\]", reason, re.DOTALL) for reason in reasons)
    assert any(re.search(wrong.message, reason, re.DOTALL) for reason in reasons), reasons
    assert result.ret is pytest.ExitCode.TESTS_FAILED
    assert f"see `kregistry docs conformance`, section {wrong.rule}" in result.stdout.str()


def test_there_is_a_wrong_kernel_type_for_each_rule() -> None:
    assert {wrong.rule for wrong in [*WRONG, HEAVY]} == set(RULES) - NEEDS_A_GPU
    on_a_gpu = (Path(__file__).parents[1] / "gpu" / "test_conformance.py").read_text()
    assert set(re.findall(r'^ +\("(KR\d{3})", \w+\(\), r?"', on_a_gpu, re.MULTILINE)) == NEEDS_A_GPU
