"""Entries in parts: cut, answered in any order, and put together again."""

from __future__ import annotations

import random

import pytest
from sample_kernel_types import Prenorm
from shapes import entry_of

from kregistry.plan import Refusal, Segment, sweep
from kregistry.plan.sweep import PartialEntry, Sweep, cut
from kregistry.stub.protocol import Swept
from kregistry.stub.refusing import RefusalCause
from kregistry.stub.segments import Run

KERNELS = {0: "a", 1: "b"}


def sweep_of(stop: int, start: int = 1, step: int = 1) -> Sweep:
    return Sweep(entry_of(Prenorm(), stop, start=start, step=step), Prenorm())


def test_parts_cover_every_value_once_and_short_ones_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_VALUES_PER_PART", 10)
    parts = cut([sweep_of(25), sweep_of(4), sweep_of(70, start=4, step=3)])
    assert [len(part.values) for part in parts] == [3, 4, 5, 10, 10, 10, 10]
    for index, values in enumerate((range(1, 26), range(1, 5), range(4, 71, 3))):
        own = sorted((part for part in parts if part.sweep == index), key=lambda part: part.number)
        assert [value for part in own for value in part.values] == list(values)


def test_a_job_says_first_and_last_value() -> None:
    (part,) = cut([sweep_of(70, start=4, step=3)])
    job = part.job(sweep_of(70).entry, "pickled")
    assert (job.kernel_type, job.shape, job.start, job.stop, job.step) == ("pickled", {"n": 24}, 4, 70, 3)


def test_parts_are_put_together_in_any_order() -> None:
    answers = [
        Swept((Run(1, 4, (0,)), Run(5, 5, (0, 1))), (Run(6, 6, RefusalCause("no 6 of 7")),)),
        Swept((Run(8, 9, (1,)),), (Run(7, 7, RefusalCause("no 7 of 8")),), cublaslt=True),
        Swept((Run(10, 12, (1,)),)),
    ]
    for seed in range(6):
        partial = PartialEntry(sweep_of(12), len(answers))
        numbered = list(enumerate(answers))
        random.Random(seed).shuffle(numbered)
        for number, answer in numbered:
            assert not partial.complete
            partial.add(number, answer, KERNELS)
        assert partial.complete
        planned = partial.planned()
        assert planned.segments == (Segment(1, 4, ("a",)), Segment(5, 5, ("a", "b")), Segment(8, 12, ("b",)))
        assert planned.refusals == (Refusal(6, 7, "no 6 of 7"),)
        assert planned.cublaslt and not planned.error
        assert planned.nbytes == Prenorm().memory_requirement(planned.entry.shape, 5)


def test_the_first_error_counts() -> None:
    partial = PartialEntry(sweep_of(12), 2)
    partial.add(1, Swept(error="crashes"), {})
    partial.add(0, Swept(error="crashes too"), {})
    assert (partial.planned().error, partial.planned().nbytes) == ("crashes", 0)
