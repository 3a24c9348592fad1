"""A call that sets the current device for good is counted, one that goes back to it is not."""

from __future__ import annotations

import sys
from contextlib import suppress

import pytest

from kregistry.stub.device_calls import device_calls


def test_only_what_stays_is_counted() -> None:
    torch = pytest.importorskip("torch")
    if not hasattr(torch._C, "_cuda_setDevice"):
        pytest.skip("a CPU build of torch has no such function")
    with device_calls() as back, suppress(Exception), torch.cuda.device(0):  # without a GPU, an error
        pass
    with device_calls() as for_good, suppress(Exception):
        torch.cuda.set_device(0)
    assert (back, for_good) == ([], ["torch.cuda.set_device()"])


def test_the_profiler_of_before_is_in_force_again() -> None:
    before = sys.getprofile()
    with device_calls():
        pass
    assert sys.getprofile() is before
