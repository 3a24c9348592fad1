"""The worker's words for errors; what it does is tested through the dry run."""

from __future__ import annotations

import pytest

from kregistry.stub.worker import describe_error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("one\n  two"), "ValueError: one two"),
        (ValueError(), "ValueError"),
        (
            RuntimeError("Assertion error (a.hpp:3): n == 3\nException raised from f at /build/x.cpp:9 (most recent)"),
            "RuntimeError: Assertion error (a.hpp:3): n == 3",
        ),
        (RuntimeError("odd\nTraceback (most recent call last): x"), "RuntimeError: odd"),
        (ValueError("x" * 900), "ValueError: " + "x" * 488),
    ],
)
def test_an_error_is_one_line_without_the_stack(error: Exception, text: str) -> None:
    assert describe_error(error) == text
