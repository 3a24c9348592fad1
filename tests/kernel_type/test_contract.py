"""KernelType: resolving shapes, support by version, and the launch that warm-up and serving share."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sample_kernel_types import Sample

from kregistry.errors import MissingRequirement, ShapeError
from kregistry.kernel_type import ArchSupport, Arguments, EmptyInput, KernelType, Shape
from kregistry.target import TARGETS

torch = pytest.importorskip("torch")

H100 = TARGETS["h100"]


class Checked(Sample):
    """Has a rule that spans dimensions, one that names a dimension, and one for a target."""

    def check(self, shape: Shape) -> None:
        if shape.n > 64 and shape.layout == "column":
            raise ShapeError(self.name, "", "n > 64 needs the row layout")


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        ({"n": 16, "nn": 1}, "sample.nn: unknown dimension", "did you mean 'n'?"),
        ({"n": 16, "q": 1}, "sample.q: unknown dimension", "known dimensions: layout, n, sms, splits"),
        ({}, "sample.n: missing, expected an integer >= 1 and a multiple of 8", "columns"),
        ({"n": 3}, "sample.n: expected an integer >= 1 and a multiple of 8, got 3", ""),
        ({"n": 128, "layout": "column"}, "sample: n > 64 needs the row layout", ""),
    ],
)
def test_a_refused_shape_says_why(values: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(ShapeError) as caught:
        Checked().resolve(values, H100)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_resolved_shape_is_complete_in_the_order_of_the_declaration() -> None:
    shape = Sample().resolve({"splits": "none", "n": 16}, TARGETS["b200"])
    assert shape.items_ == (("n", 16), ("layout", "row"), ("splits", None), ("sms", 148))
    assert (shape.kernel_type, shape.target) == ("sample", TARGETS["b200"])


@pytest.mark.parametrize(
    ("target", "version", "reason"),
    [
        ("h100", "0.1.4.post1", None),
        ("b200", "0.2.3.post2", None),
        ("b200", "0.2rc1", "0.1 asserts (needs DeepGEMM >=0.2, found 0.2rc1)"),
        ("b200", "0.1.4.post1", "0.1 asserts (needs DeepGEMM >=0.2, found 0.1.4.post1)"),
        ("rtx-pro-6000", "9.9", "never written"),
    ],
)
def test_support_depends_on_arch_and_version(target: str, version: str, reason: str | None) -> None:
    assert Sample().unsupported_reason(TARGETS[target], version) == reason


def test_a_prerelease_counts_as_a_version() -> None:
    class Early(Sample):
        archs = (ArchSupport("sm100", ">=0.2rc1"),)

    assert Early().unsupported_reason(TARGETS["b200"], "0.2rc2") is None


def test_an_arch_that_nobody_declared_is_not_supported() -> None:
    class Hopper(Sample):
        archs = (ArchSupport("sm90"), ArchSupport("sm120", "none", "never"))

    assert Hopper().unsupported_reason(TARGETS["b200"], "1") == "no support for sm100 is declared (supported: sm90)"


class Recording(Sample):
    """Notes what reached the function, and what went another way."""

    def __init__(self) -> None:
        self.launched: list[int] = []
        self.empty: list[tuple[Any, ...]] = []

    def function(self) -> Callable[..., Any]:
        def record(a: torch.Tensor, d: torch.Tensor, scale: int) -> str:
            self.launched.append(a.shape[0])
            return "launched"

        return record

    def empty_result(self, call: Arguments) -> Any:
        self.empty.append((call.a, call.d))
        return "empty"


@pytest.mark.parametrize(
    ("rule", "answers", "launched"),
    [
        (EmptyInput.RETURN, ["empty", "launched"], [2]),
        (EmptyInput.ZERO_OUTPUTS, ["empty", "launched"], [2]),
        (EmptyInput.LAUNCH, ["launched", "launched"], [0, 2]),
    ],
)
def test_the_empty_input_rule(
    monkeypatch: pytest.MonkeyPatch, rule: EmptyInput, answers: list[str], launched: list[int]
) -> None:
    monkeypatch.setattr(Recording, "empty_input", rule)
    kernel_type = Recording()
    shape = kernel_type.resolve({"n": 16}, H100)
    buffers = kernel_type.allocate_buffers(shape, 2, "meta")
    assert [kernel_type.execute(buffers, m) for m in (0, 2)] == answers
    assert kernel_type.launched == launched
    assert len(kernel_type.empty) == answers.count("empty")


def test_an_empty_input_leaves_outputs_alone_by_default() -> None:
    d = torch.full((0, 16), 5.0)
    assert Sample().launch(torch.empty(0, 16), d, scale=2) is None


def test_execute_launches_what_the_arguments_say() -> None:
    kernel_type = Sample()
    shape = kernel_type.resolve({"n": 16}, H100)
    buffers = kernel_type.allocate_buffers(shape, 4, "cpu")
    buffers.d.zero_()
    kernel_type.fill(buffers, 3, torch.Generator().manual_seed(0))
    kernel_type.execute(buffers, 3)
    expected = kernel_type.reference(buffers, 3)["d"]
    torch.testing.assert_close(kernel_type.results(buffers, 3)["d"].float(), expected, rtol=1e-2, atol=1e-2)
    assert buffers.d[3].eq(0).all()


class Versioned(KernelType):
    """Resolves DeepGEMM's function by its names."""

    name = "versioned"
    function_names = ("new_name", "old_name")


Versioned.__abstractmethods__ = frozenset()


def test_the_newest_name_that_exists_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    both = SimpleNamespace(new_name=lambda: "new", old_name=lambda: "old")
    monkeypatch.setitem(__import__("sys").modules, "deep_gemm", both)
    assert Versioned().function()() == "new"
    del both.new_name
    assert Versioned().function()() == "old"


def test_a_function_that_deep_gemm_has_not_got_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "deep_gemm", SimpleNamespace())
    with pytest.raises(MissingRequirement) as caught:
        Versioned().function()
    assert str(caught.value) == (
        "the installed DeepGEMM has no function new_name or old_name (kernel type versioned)\n"
        "hint: kregistry doctor shows the version of DeepGEMM"
    )


def test_kernel_types_are_pickled_by_name() -> None:
    assert type(pickle.loads(pickle.dumps(Sample()))) is Sample
    assert repr(Sample()) == "<kernel type sample>"


def test_a_call_of_the_object_is_what_is_bound_or_a_launch() -> None:
    kernel_type = Recording()
    a, d = torch.empty(2, 16), torch.empty(2, 16)
    assert kernel_type(a, d, scale=2) == "launched"
    kernel_type.bind(lambda *args, **kwargs: kwargs)
    assert kernel_type(a, d, scale=2) == {"scale": 2}
    kernel_type.bind(None)
    assert kernel_type(a, d, scale=2) == "launched"
    bound = Sample()
    bound.bind(print)
    copies = [copy.copy(bound), pickle.loads(pickle.dumps(bound))]
    assert [each.__call__ == each.launch for each in copies] == [True, True]
    assert bound.__call__ is print
