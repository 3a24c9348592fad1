"""Markers come from fixtures, modules and directories; a skip of what CI must run is a failure."""

from __future__ import annotations

from pathlib import Path

import markers
import pytest

SUPPORT = Path(__file__).parent / "support"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A test suite that has the rules of this one."""
    pytester.syspathinsert(SUPPORT)
    pytester.makeconftest(
        """
        import pytest
        pytest_plugins = ["markers"]
        @pytest.fixture
        def toolchain(): pass
        @pytest.fixture
        def uses_it(toolchain): pass
        """
    )
    names = ("stub", "nvcc", "slow", "engines", "services", "gpu", "timeout(seconds)")
    pytester.makeini("\n    ".join(["[pytest]\nmarkers =", *(f"{name}: a need" for name in names)]))
    return pytester


def selected(suite: pytest.Pytester, marker: str) -> list[str]:
    result = suite.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist", "-q", "--collect-only", "-m", marker)
    return [line.rpartition("::")[2] for line in result.outlines if "::" in line]


def test_a_fixture_of_a_fixture_counts(suite: pytest.Pytester) -> None:
    suite.makepyfile("def test_plain(): pass\ndef test_it(uses_it): pass\n")
    assert selected(suite, "stub") == ["test_it"]


def test_an_imported_module_or_function_counts(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(markers.MODULES, "heavy_module", ("stub",))
    suite.makepyfile(
        heavy_module="def ones(): pass\n",
        test_module="import heavy_module\ndef test_module(): pass\n",
        test_function="from heavy_module import ones\ndef test_function(): pass\n",
        test_neither="def test_neither(): pass\n",
    )
    assert sorted(selected(suite, "stub")) == ["test_function", "test_module"]
    assert selected(suite, "not stub") == ["test_neither"]


def test_a_module_that_imports_torch_is_not_imported_where_the_stub_is_left_out(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_heavy="""
        import pytest
        import imported_for_all
        torch = pytest.importorskip("torch")
        def test_heavy(): pass
        """,
        test_plain="SCRIPT = 'torch = importorskip'\ndef test_plain(): pass\n",
    )
    in_this_process = ("-p", "no:cacheprovider", "-p", "no:xdist")
    suite.runpytest_inprocess(*in_this_process, "-m", "not stub and not slow").assert_outcomes(passed=1)
    suite.runpytest_inprocess(*in_this_process, "-m", "not slow").assert_outcomes(errors=1)


def test_engines_run_on_the_stub(suite: pytest.Pytester) -> None:
    suite.makepyfile("import pytest\n@pytest.mark.engines\ndef test_engine(): pass\ndef test_plain(): pass\n")
    assert selected(suite, "not stub") == ["test_plain"]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("not stub", ["test_plain"]),
        ("not slow and not stub", ["test_plain"]),
        ("not slow", ["test_heavy", "test_plain"]),
        ("slow or not stub", ["test_plain"]),
        ("not (slow and not stub)", ["test_heavy", "test_plain"]),
    ],
)
def test_a_directory_without_a_selected_test_is_not_imported(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, expression: str, names: list[str]
) -> None:
    monkeypatch.setattr(markers, "TESTS", suite.path)
    monkeypatch.setitem(markers.DIRECTORIES, "heavy", ("stub",))
    imported = suite.path / "imported"
    suite.makepyfile(
        **{
            "heavy/test_heavy": f"import pathlib\npathlib.Path({str(imported)!r}).touch()\ndef test_heavy(): pass\n",
            "test_plain": "def test_plain(): pass\n",
        }
    )
    assert selected(suite, expression) == names
    assert imported.exists() is (expression not in ("not stub", "not slow and not stub"))


@pytest.mark.parametrize(("required", "outcomes"), [("", {"skipped": 2}), ("engines", {"failed": 1, "skipped": 1})])
def test_a_skip_of_what_is_required_fails(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str, outcomes: dict[str, int]
) -> None:
    suite.makepyfile(
        """
        import pytest
        @pytest.mark.engines
        def test_engine(): pytest.skip("no engine here")
        def test_other(): pytest.skip("not today")
        """
    )
    monkeypatch.setenv("KREGISTRY_REQUIRE", required)
    result = suite.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist")
    result.assert_outcomes(**outcomes)
    if required:
        result.stdout.fnmatch_lines(["*skipped, but KREGISTRY_REQUIRE=engines: *no engine here*"])


def test_what_takes_long_has_a_longer_limit(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        @pytest.mark.slow
        def test_slow(request): assert request.node.get_closest_marker("timeout").args == (1800,)
        @pytest.mark.slow
        @pytest.mark.timeout(5)
        def test_own(request): assert request.node.get_closest_marker("timeout").args == (5,)
        def test_plain(request): assert request.node.get_closest_marker("timeout") is None
        """
    )
    suite.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:xdist").assert_outcomes(passed=3)
