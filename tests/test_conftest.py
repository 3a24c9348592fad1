"""The guards of the test suite guard."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def test_a_test_that_changes_the_environment_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    guard = """
        import importlib.util, os
        spec = importlib.util.spec_from_file_location("guarding", {path!r})
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        environment_guard = module.environment_guard
    """
    pytester.makeconftest(guard.format(path=str(Path(__file__).parent / "conftest.py")))
    pytester.makepyfile(
        """
        import os
        def test_adds(): os.environ["ADDED_BY_A_TEST"] = "1"
        def test_removes(): del os.environ["PATH"]
        def test_leaves_it(): assert "ADDED_BY_A_TEST" not in os.environ and "PATH" in os.environ
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=2)
    result.stdout.fnmatch_lines_random(
        ["*the test changed the environment: ADDED_BY_A_TEST*", "*the test changed the environment: PATH*"]
    )


def test_a_process_that_nobody_waited_for_is_charged_to_its_test(pytester: pytest.Pytester) -> None:
    """Python notices it when the object is collected: here in the second test."""
    pytester.makepyfile(
        """
        import gc, subprocess, sys
        kept = []
        def test_starts_it(): kept.append(subprocess.Popen([sys.executable, "-S", "-c", ""]))
        def test_is_there_when_it_is_noticed():
            kept.clear()
            gc.collect()
        """
    )
    errors = ("-W", "error::ResourceWarning", "-W", "error::pytest.PytestUnraisableExceptionWarning")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "started_processes", *errors)
    assert result.ret is pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*A process that nobody waited for*", "process *: *::test_starts_it"])


def test_home_cache_and_store_are_of_the_test(tmp_path: Path) -> None:
    for path in (Path.home(), Path(os.environ["XDG_CACHE_HOME"]), Path(os.environ["KREGISTRY_STORE"])):
        assert path.is_relative_to(tmp_path.parent)
