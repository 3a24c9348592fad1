"""Watches for calls that choose another current device, and do not go back to the one before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from kregistry.call_watch import watching_calls

#: torch.cuda.device() exchanges the device and goes back; torch.cuda.set_device() ends in this function of torch._C.
_SETS_THE_DEVICE = "_cuda_setDevice"


@contextmanager
def device_calls() -> Iterator[list[str]]:
    """The calls of :func:`torch.cuda.set_device` in this thread, in a list that fills meanwhile.

    The device itself says nothing where a process has one device only.
    """
    found: list[str] = []

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and getattr(argument, "__name__", "") == _SETS_THE_DEVICE:
            found.append("torch.cuda.set_device()")

    with watching_calls(watch):
        yield found
