"""Cores of this machine, and the share of a dry run."""

from __future__ import annotations

import os

import pytest

from kregistry.machine import available_cores, default_processes


def test_only_cores_that_this_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5, 7})
    assert available_cores() == 3


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (2, 2), (4, 2), (16, 4), (64, 16)])
def test_a_dry_run_gets_a_quarter_of_the_cores(cores: int, processes: int) -> None:
    assert default_processes(cores) == processes
