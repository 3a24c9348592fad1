"""What a plugin author sees: the fixture, known failures, overrides, levels, report and summary."""

from __future__ import annotations

import json

import pytest
from good_kernel_types import PlainGemm

from kregistry.conformance import KernelTypeConformance, examine
from kregistry.conformance.rules import RULES

FILE = """
import pytest
from kregistry.conformance import KernelTypeConformance
from {module} import {name}

@pytest.fixture
def kernel_type():
    return {name}()

class TestIt(KernelTypeConformance):
    expected_failures = {expected!r}
"""


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """pytester drops what a run imports, and torch cannot be imported twice: import all that a run needs before."""
    assert issubclass(KernelTypeConformance, object)
    examine(PlainGemm())


def write(pytester: pytest.Pytester, name: str, expected: dict[str, str] | None = None) -> None:
    module = "good_kernel_types" if name in ("PlainGemm", "Bf16Gemm") else "wrong_kernel_types"
    pytester.makepyfile(FILE.format(module=module, name=name, expected=expected or {}))


def test_a_good_kernel_type_passes_with_numerics_on_the_cpu(pytester: pytest.Pytester) -> None:
    write(pytester, "PlainGemm")
    result = pytester.runpytest_inprocess("--kregistry-report=report.jsonl")
    assert result.ret is pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        ["*= kregistry conformance =*", "plain_gemm (not installed): * passed, 0 failed, * skipped, 0 known failures"]
    )
    records = [json.loads(line) for line in (pytester.path / "report.jsonl").read_text().splitlines()]
    assert {"kernel_type", "distribution", "version", "rule", "case", "level", "outcome", "reason"} == set(records[0])
    passed = {each["rule"] for each in records if each["outcome"] == "passed"}
    # KR136 is for the arguments that a kernel type declares to be linear, and this one declares none.
    assert {rule for rule in RULES if rule.startswith("KR1")} - {"KR136"} <= passed
    assert {"KR301", "KR302", "KR303", "KR304", "KR305"} <= passed


def test_skips_say_why(pytester: pytest.Pytester) -> None:
    write(pytester, "PlainGemm")
    result = pytester.runpytest_inprocess("-k", "KR2")
    result.stdout.fnmatch_lines(["skipped KR201, *: it does not run on CUDA devices"])


def test_a_missing_fixture_fails_with_the_snippet(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from kregistry.conformance import KernelTypeConformance
        class TestIt(KernelTypeConformance):
            pass
        """
    )
    result = pytester.runpytest_inprocess("-k", "KR101")
    assert result.ret is pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*the conformance kit needs a fixture `kernel_type`*", "*def kernel_type():*"])


def test_another_object_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from kregistry.conformance import KernelTypeConformance
        @pytest.fixture
        def kernel_type():
            return "my_gemm"
        class TestIt(KernelTypeConformance):
            pass
        """
    )
    result = pytester.runpytest_inprocess("-k", "KR101")
    result.stdout.fnmatch_lines(["*the fixture kernel_type returned 'my_gemm', expected a KernelType object*"])


def test_without_the_plugin_nothing_passes(pytester: pytest.Pytester) -> None:
    write(pytester, "PlainGemm")
    result = pytester.runpytest_inprocess("-p", "no:kregistry")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'kregistry_check' not found*"])


def test_one_object_for_each_test_is_examined_once(pytester: pytest.Pytester) -> None:
    """A parametrized fixture gives every kernel type its own tests."""
    pytester.makepyfile(
        """
        import pytest
        from good_kernel_types import PlainGemm
        from kregistry.conformance import KernelTypeConformance

        class Other(PlainGemm):
            name = "other"

        @pytest.fixture(params=[PlainGemm, Other])
        def kernel_type(request):
            return request.param()

        class TestIt(KernelTypeConformance):
            pass
        """
    )
    result = pytester.runpytest_inprocess("-k", "KR103-tail")
    result.assert_outcomes(passed=2, deselected=2 * sum(len(rule.checks()) for rule in RULES.values()) - 2)
    result.stdout.fnmatch_lines(["plain_gemm *1 passed*", "other *1 passed*"])


@pytest.mark.parametrize("name", ["test_rule", "_judge"])
def test_an_override_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=f"Mine overrides {name}, which would weaken the conformance kit"):
        type("Mine", (KernelTypeConformance,), {name: lambda self: None})


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"KR999": "why"}, "names 'KR999', but there is no such rule or check"),
        ({"KR303-sideways": "why"}, "names 'KR303-sideways', but there is no such rule or check"),
        ({"KR303": " "}, r"expected_failures\['KR303'\] gives no reason"),
    ],
)
def test_known_failures_are_checked(expected: dict[str, str], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        type("Mine", (KernelTypeConformance,), {"expected_failures": expected})


@pytest.mark.parametrize("key", ["KR303", "KR303-tail"])
def test_a_known_failure_is_run_and_reported(pytester: pytest.Pytester, key: str) -> None:
    write(pytester, "WritesPastM", {key: "issue 12"})
    result = pytester.runpytest_inprocess("-k", "KR303 and tail", "--kregistry-report=report.jsonl")
    assert result.ret is pytest.ExitCode.OK
    result.assert_outcomes(xfailed=1, deselected=sum(len(rule.checks()) for rule in RULES.values()) - 1)
    (record,) = [json.loads(line) for line in (pytester.path / "report.jsonl").read_text().splitlines()]
    assert record["outcome"] == "known failure"
    assert record["reason"].startswith("issue 12: a launch: got writes 24 elements")


def test_a_known_failure_that_passes_fails(pytester: pytest.Pytester) -> None:
    write(pytester, "PlainGemm", {"KR303": "issue 12"})
    result = pytester.runpytest_inprocess("-k", "KR303")
    result.assert_outcomes(failed=4, deselected=sum(len(rule.checks()) for rule in RULES.values()) - 4)
    result.stdout.fnmatch_lines(["KR303 passes, but expected_failures says 'issue 12': remove it *"])


def test_a_required_level_must_be_there(pytester: pytest.Pytester) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so the level is there")
    write(pytester, "Bf16Gemm")
    result = pytester.runpytest_inprocess("--kregistry-require=gpu", "-k", "KR30")
    assert result.ret is pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["the level gpu is required, but torch finds no GPU *KR301*"])


def test_the_tests_have_stable_names(pytester: pytest.Pytester) -> None:
    write(pytester, "PlainGemm")
    result = pytester.runpytest_inprocess("--collect-only", "-q")
    lines = [line.rpartition("[")[2].rstrip("]") for line in result.outlines if "test_rule[" in line]
    assert lines == [check.id for rule in RULES.values() for check in rule.checks()]
