"""What the log of an engine says about a failure of kregistry."""

from __future__ import annotations

import errno
import os

import pytest

from kregistry.errors import StorageError
from kregistry.integrations.switches import failures_logged


@pytest.mark.parametrize(
    "error", [StorageError("/store", "read-only", "name another"), OSError(errno.EROFS, os.strerror(errno.EROFS))]
)
def test_a_fault_of_the_machine_is_one_line(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with failures_logged("kregistry builds nothing"):
        raise error
    [record] = caplog.records
    assert record.exc_info is None and "\n" not in record.getMessage()
    assert record.getMessage().startswith("kregistry builds nothing: ") and "read-only" in record.getMessage().lower()


def test_a_bug_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with failures_logged("kregistry builds nothing"):
        raise RuntimeError("a bug")
    [record] = caplog.records
    assert record.exc_info is not None
