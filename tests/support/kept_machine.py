"""One machine for the conformance runs of several tests, whose pools on the stub GPU load torch once.

A module that pytester runs in this process gets it by a fixture ``kregistry_machine`` that overrides the plugin's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kregistry.conformance import Machine
from kregistry.stub.library import default_stub_directory

_KEPT: list[Machine] = []


@contextmanager
def keep_machine() -> Iterator[None]:
    """Keep the machine that :func:`kept_machine` returns until the end of the block."""
    with Machine(default_stub_directory()) as machine:
        _KEPT.append(machine)
        try:
            yield
        finally:
            _KEPT.remove(machine)


def kept_machine() -> Machine:
    """The machine, with new processes: what the last kernel type has left in them is gone."""
    machine = _KEPT[-1]
    for prober in machine._probers.values():
        if prober._process is not None:
            prober._process.close()
            prober._process.alive = False
    return machine
