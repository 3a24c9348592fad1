"""The executor of Slurm jobs, without a cluster: each future ends, whatever Slurm says of its job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kregistry_plugins import on_slurm

LIMIT = 60.0


class _Job:
    """A job whose state and result are what functions give or raise."""

    def __init__(self, done: Callable[[], bool], result: Callable[[], Any]) -> None:
        self.done, self.result = done, result

    def cancel(self, check: bool) -> None:
        pass


class _Jobs:
    def submit(self, job: _Job) -> _Job:
        return job


def _raises(error: Exception) -> Any:
    raise error


def test_a_job_of_which_slurm_says_nothing_is_lost_and_the_others_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the thread that looks would end, and every future would be waited for without end."""
    monkeypatch.setattr(on_slurm, "_POLL_SECONDS", 0.01)
    executor = on_slurm._SlurmExecutor(_Jobs())
    looks: list[int] = []
    submit: Callable[..., Any] = executor.submit
    silent = submit(_Job(lambda: _raises(OSError("sacct: no answer")), int))
    failed = submit(_Job(lambda: True, lambda: _raises(RuntimeError("left no result"))))
    good = submit(_Job(lambda: looks.append(1) or len(looks) > 3, lambda: 7))
    assert good.result(LIMIT) == 7
    assert str(silent.exception(LIMIT)) == "sacct: no answer"
    assert str(failed.exception(LIMIT)) == "left no result"
    executor.shutdown()
