"""The launcher's decisions: what is launched, what is left, what a failure stops; no GPU is involved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from sample_kernel_types import Sample
from shapes import entry_of

from kregistry import Buffers, KernelType, Registry, Shape, hookimpl
from kregistry.errors import WarmupError
from kregistry.warm_up import Warmed, WarmedKernel
from kregistry.warm_up.launcher import Launcher, LaunchPoint, Lent

torch = pytest.importorskip("torch")

#: What the buffers of Sample with n = 8 take at m: a and d of 2 bytes an element, w of 4.
FIXED, EACH_M = 8 * 4, 2 * 8 * 2


class Recording(Sample):
    """Notes the launches; some fail."""

    launched: list[tuple[int, int]]

    def __init__(self) -> None:
        self.launched = []
        self.lent: list[bool] = []

    def allocate_buffers(self, shape: Shape, max_m: int, device: Any = "cuda", lent: Any = {}) -> Buffers:
        assert device == "cuda"
        self.lent.append("w" in lent)
        return super().allocate_buffers(shape, max_m, "cpu", lent)

    def execute(self, buffers: Buffers, m: int) -> Any:
        self.launched.append((buffers.max_m, m))
        if m == 13:
            raise RuntimeError("CUDA error:\n an illegal memory access")
        if m == 14:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")
        return None


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> Recording:
    """There is no device here: waiting for it and giving memory back to it have nothing to do."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return Recording()


ENTRY = entry_of(Sample(), n=8)


def launches(
    sample: Recording, *points: tuple[int, str], limit: int = 1 << 30, lent: Lent = {}
) -> Iterator[WarmedKernel]:
    class Plugin:
        @hookimpl
        def kregistry_kernel_types(self) -> Iterable[KernelType]:
            return [sample]

    registry = Registry(load_entry_points=False)
    registry.register(Plugin())
    due = [LaunchPoint(ENTRY, m, tuple(kernels)) for m, kernels in points]
    return Launcher(registry, limit, lent).run(due)


def run(sample: Recording, *points: tuple[int, str], limit: int = 1 << 30, lent: Lent = {}) -> list[WarmedKernel]:
    return list(launches(sample, *points, limit=limit, lent=lent))


def outcomes(found: list[WarmedKernel]) -> list[tuple[int, str, Warmed]]:
    return [(each.m, "".join(each.kernels), each.outcome) for each in found]


def test_one_launch_at_each_point_with_buffers_just_large_enough(sample: Recording) -> None:
    found = run(sample, (1, "a"), (17, "b"))
    assert outcomes(found) == [(1, "a", Warmed.LOADED), (17, "b", Warmed.LOADED)]
    assert sample.launched == [(1, 1), (17, 17)]
    assert [each.nbytes for each in found] == [FIXED + EACH_M, FIXED + 17 * EACH_M]


def test_a_kernel_is_loaded_once(sample: Recording) -> None:
    found = run(sample, (1, "ab"), (5, "a"), (9, "bc"))
    assert outcomes(found) == [(1, "ab", Warmed.LOADED), (9, "c", Warmed.LOADED)]


def test_what_exceeds_the_budget_is_left_and_said(sample: Recording) -> None:
    found = run(sample, (1, "a"), (17, "b"), (2, "c"), limit=FIXED + 2 * EACH_M)
    assert outcomes(found) == [(1, "a", Warmed.LOADED), (17, "b", Warmed.LEFT), (2, "c", Warmed.LOADED)]
    assert found[1].text == f"needs {FIXED + 17 * EACH_M} bytes, the memory budget is {FIXED + 2 * EACH_M}"
    assert sample.launched == [(1, 1), (2, 2)]


def test_what_was_left_is_tried_again_where_another_entry_uses_it(sample: Recording) -> None:
    found = run(sample, (17, "b"), (2, "b"), limit=FIXED + 2 * EACH_M)
    assert outcomes(found) == [(17, "b", Warmed.LEFT), (2, "b", Warmed.LOADED)]


def test_what_waits_for_other_processes_is_left_and_said(sample: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recording, "collective", lambda self, shape: "8 ranks launch it together")
    found = run(sample, (1, "a"))
    assert outcomes(found) == [(1, "a", Warmed.LEFT)]
    assert (found[0].text, sample.launched) == ("8 ranks launch it together", [])


def test_a_failure_does_not_stop_the_rest(sample: Recording) -> None:
    found = run(sample, (13, "a"), (14, "b"), (15, "c"))
    assert outcomes(found) == [(13, "a", Warmed.FAILED), (14, "b", Warmed.LEFT), (15, "c", Warmed.LOADED)]
    assert [each.text for each in found] == [
        "RuntimeError: CUDA error: an illegal memory access",
        "the device has too little memory: CUDA out of memory. Tried to allocate 2 GiB.",
        "",
    ]


def test_a_launch_that_ends_the_cuda_context_is_one_clear_error(
    sample: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def after_the_trap() -> None:
        if (13, 13) in sample.launched:
            raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(torch.cuda, "synchronize", after_the_trap)
    monkeypatch.setattr(torch.cuda, "empty_cache", after_the_trap)
    heard: list[WarmedKernel] = []
    with pytest.raises(WarmupError) as error:
        heard.extend(launches(sample, (1, "a"), (13, "b"), (15, "c")))
    assert sample.launched == [(1, 1), (13, 13)]
    assert outcomes(heard) == [(1, "a", Warmed.LOADED), (13, "b", Warmed.FAILED)]
    assert str(ENTRY) in error.value.message
    assert "at m 13 ended the CUDA context of this process" in error.value.message
    assert error.value.details == ("RuntimeError: CUDA error: an illegal memory access",)
    assert "start a new process" in error.value.hint


def test_borrowed_weights_are_used_and_cost_nothing(sample: Recording) -> None:
    (found,) = run(sample, (1, "a"), limit=EACH_M, lent={"": {"w": torch.ones(8)}})
    assert (found.outcome, found.nbytes, sample.lent) == (Warmed.LOADED, EACH_M, [True])


def test_a_borrowed_weight_that_does_not_fit_fails_that_entry(sample: Recording) -> None:
    (found,) = run(sample, (1, "a"), lent={"": {"w": torch.ones(9)}})
    assert found.outcome is Warmed.FAILED
    assert found.text.startswith("InputError: the tensor given for sample.w has (shape, dtype, strides)")


def test_the_workspace_of_deep_gemm_counts(sample: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    def workspace(self: KernelType, shape: Shape, max_m: int) -> int:
        return 1000 * max_m

    monkeypatch.setattr(Recording, "workspace_requirement", workspace)
    (found,) = run(sample, (2, "a"))
    assert found.nbytes == FIXED + 2 * EACH_M + 2000
