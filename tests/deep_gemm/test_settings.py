"""Settings: put in force around calls, restored, and read back, with a module in the place of DeepGEMM."""

from __future__ import annotations

import re
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve
from sample_kernel_types import Sample

from kregistry.deep_gemm import settings
from kregistry.deep_gemm.known_settings import DETERMINISTIC, MK_ALIGNMENT, NUM_SMS
from kregistry.deep_gemm.settings import applied, current, is_known, read_call
from kregistry.errors import ShapeError
from kregistry.kernel_type import REQUIRED, Arguments, Choice, Flag, Setting, Shape, Size
from kregistry.target import TARGETS

#: As DeepGEMM 0.2 has them: they can be set, and not asked for.
BLOCK_SIZE = Setting("block_size_multiple_of", set="set_block_size_multiple_of", default=1)
IGNORE = Setting("ignore_compile_dims", set="set_ignore_compile_dims", default=False)


class FakeDeepGemm(SimpleNamespace):
    """The setters and getters, and what was set in which order."""

    def __init__(self, sms: int = 132) -> None:
        super().__init__(__version__="0.1", log=[])
        self.values: dict[str, Any] = {"sms": sms, "alignment": 128}
        self.get_num_sms = lambda: self.values["sms"]
        self.set_num_sms = lambda value: self._set("sms", value)
        self.get_mk_alignment_for_contiguous_layout = lambda: self.values["alignment"]
        self.set_mk_alignment_for_contiguous_layout = lambda value: self._set("alignment", value)
        self.set_block_size_multiple_of = lambda value: self._set("block", value)
        self.set_ignore_compile_dims = lambda value: self._set("ignore", value)

    def _set(self, name: str, value: Any) -> None:
        if name == "sms" and value == 6:
            raise RuntimeError("Assertion error: too few\nat a place")
        self.values[name] = value
        self.log.append((name, value))


@pytest.fixture
def deep_gemm(monkeypatch: pytest.MonkeyPatch) -> FakeDeepGemm:
    fake = FakeDeepGemm()
    monkeypatch.setitem(sys.modules, "deep_gemm", fake)
    monkeypatch.setattr(settings, "_device", lambda: TARGETS["h100"])
    return fake


class Follows(Sample):
    dimensions = Sample.dimensions[:3]
    settings = (NUM_SMS, MK_ALIGNMENT, DETERMINISTIC)


class Prepared(Follows):
    settings = (BLOCK_SIZE, IGNORE)


def shape_of(kernel_type: Sample | None = None, target: str = "h100", **values: object) -> Shape:
    return (kernel_type or Follows()).resolve({"n": 16, **values}, TARGETS[target])


def test_nothing_is_set_where_everything_has_its_default(deep_gemm: FakeDeepGemm) -> None:
    with applied(Follows(), shape_of()), applied(Follows(), shape_of(target="b200")):
        assert current(Follows()) == {}
    assert deep_gemm.log == []


def test_values_are_in_force_inside_and_restored_after_an_error(deep_gemm: FakeDeepGemm) -> None:
    shape = shape_of(num_sms=112, mk_alignment=64)
    with pytest.raises(KeyError), applied(Follows(), shape):
        assert (deep_gemm.values["sms"], deep_gemm.values["alignment"]) == (112, 64)
        assert current(Follows()) == {"num_sms": 112, "mk_alignment": 64}
        raise KeyError
    assert deep_gemm.log == [("sms", 112), ("alignment", 64), ("alignment", 128), ("sms", 132)]


def test_a_default_is_that_of_the_device_whatever_gpu_is_planned_for(deep_gemm: FakeDeepGemm) -> None:
    deep_gemm.values["sms"] = 100
    with applied(Follows(), shape_of(target="b200")):
        assert deep_gemm.values["sms"] == 132
    assert deep_gemm.values["sms"] == 100
    assert current(Follows()) == {"num_sms": 100}


def test_a_default_of_the_kernel_type_may_differ_from_that_of_deep_gemm(deep_gemm: FakeDeepGemm) -> None:
    class Coarse(Follows):
        settings = (evolve(MK_ALIGNMENT, choices=(256, 512), default=256),)

    with applied(Coarse(), shape_of(Coarse())):
        assert deep_gemm.values["alignment"] == 256 and current(Coarse()) == {}
    assert current(Coarse()) == {"mk_alignment": 128}


def test_a_real_call_shows_the_settings_that_have_not_their_default(deep_gemm: FakeDeepGemm) -> None:
    class Reads(Follows):
        def shape_of(self, call: Arguments) -> dict[str, Any]:
            return {"n": call.scale}

    assert read_call(Reads(), (None, None, 16), {}) == {"n": 16}
    deep_gemm.set_num_sms(100)
    assert read_call(Reads(), (None, None), {"scale": 16}) == {"n": 16, "num_sms": 100}


@pytest.mark.parametrize(("archs", "shown"), [((), True), (("sm90", "sm100"), True), (("sm100",), False)])
def test_a_setting_is_read_where_kernels_depend_on_it(
    deep_gemm: FakeDeepGemm, archs: tuple[str, ...], shown: bool
) -> None:
    class Elsewhere(Follows):
        settings = (evolve(MK_ALIGNMENT, archs=archs),)

    deep_gemm.values["alignment"] = 64
    assert current(Elsewhere()) == ({"mk_alignment": 64} if shown else {})


def test_a_setting_that_cannot_be_asked_for_returns_to_its_default(deep_gemm: FakeDeepGemm) -> None:
    shape = shape_of(Prepared(), block_size_multiple_of=32, ignore_compile_dims=True)
    assert str(shape).endswith("block_size_multiple_of=32 ignore_compile_dims=True")
    with applied(Prepared(), shape):
        assert (deep_gemm.values["block"], deep_gemm.values["ignore"]) == (32, True)
        assert current(Prepared()) == {"block_size_multiple_of": 32, "ignore_compile_dims": True}
    assert current(Prepared()) == {}
    assert (deep_gemm.values["block"], deep_gemm.values["ignore"]) == (1, False)


def test_a_setting_that_is_missing_or_refused_is_named(deep_gemm: FakeDeepGemm) -> None:
    with pytest.raises(
        ShapeError, match=r"sample.deterministic: this DeepGEMM has no use_deterministic_algorithms\(\)"
    ):
        applied(Follows(), shape_of(deterministic=True)).__enter__()
    with pytest.raises(ShapeError, match=r"sample.num_sms: set_num_sms\(6\) is refused: Assertion error: too few"):
        applied(Follows(), shape_of(num_sms=6)).__enter__()
    assert [is_known(each) for each in (NUM_SMS, MK_ALIGNMENT, DETERMINISTIC)] == [True, True, False]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("\ntoo late\nat a place"), "too late"),
        (RuntimeError(), "RuntimeError"),
        (ValueError("no"), "no"),
        (TypeError("no number"), "no number"),
    ],
)
def test_a_setter_that_changes_the_value_and_then_fails_is_undone_and_named(
    deep_gemm: FakeDeepGemm, error: Exception, reason: str
) -> None:
    def fails_late(value: int) -> None:
        deep_gemm.values["alignment"] = value
        if value == 64:
            raise error

    deep_gemm.set_mk_alignment_for_contiguous_layout = fails_late
    expected = rf"sample.mk_alignment: set_mk_alignment_for_contiguous_layout\(64\) is refused: {reason}"
    with pytest.raises(ShapeError, match=expected):
        applied(Follows(), shape_of(num_sms=112, mk_alignment=64)).__enter__()
    assert deep_gemm.values == {"sms": 132, "alignment": 128}


def test_an_interrupt_in_a_setter_undoes_it(deep_gemm: FakeDeepGemm) -> None:
    def interrupted(value: int) -> None:
        deep_gemm.values["sms"] = value
        if value == 112:
            raise KeyboardInterrupt

    deep_gemm.set_num_sms = interrupted
    with pytest.raises(KeyboardInterrupt):
        applied(Follows(), shape_of(num_sms=112)).__enter__()
    assert deep_gemm.values["sms"] == 132


def test_a_value_that_cannot_be_restored_is_named_and_the_others_are_restored(deep_gemm: FakeDeepGemm) -> None:
    def sticks(value: int) -> None:
        if value == 128:
            raise ValueError("stuck")
        deep_gemm.values["alignment"] = value

    deep_gemm.set_mk_alignment_for_contiguous_layout = sticks
    expected = r"sample.mk_alignment: set_mk_alignment_for_contiguous_layout\(128\) is refused: stuck"
    with pytest.raises(ShapeError, match=expected), applied(Follows(), shape_of(num_sms=112, mk_alignment=64)):
        pass
    assert deep_gemm.values == {"sms": 132, "alignment": 64}


@pytest.mark.parametrize("error", [RuntimeError("lost"), ValueError("lost"), AttributeError("lost")])
def test_a_getter_that_fails_is_named(deep_gemm: FakeDeepGemm, error: Exception) -> None:
    def fails() -> int:
        raise error

    deep_gemm.get_num_sms = fails
    for shape in (shape_of(), shape_of(num_sms=112)):
        with pytest.raises(ShapeError, match=r"sample.num_sms: get_num_sms\(\) fails: lost"):
            applied(Follows(), shape).__enter__()
    with pytest.raises(ShapeError, match=r"sample.num_sms: get_num_sms\(\) fails: lost"):
        current(Follows())


@pytest.mark.parametrize("value", [100, 132])  # the default has to be put in force as well while another is
def test_a_thread_waits_while_another_has_changed_a_setting(deep_gemm: FakeDeepGemm, value: int) -> None:
    inside = threading.Event()
    leave = threading.Event()
    seen: list[int] = []

    def second() -> None:
        with applied(Follows(), shape_of(num_sms=value)):
            inside.set()
            leave.wait()
            seen.append(deep_gemm.values["sms"])

    thread = threading.Thread(target=second, daemon=True)
    with applied(Follows(), shape_of(num_sms=112)):
        with applied(Follows(), shape_of(num_sms=64)):  # the same thread need not wait
            pass
        thread.start()
        assert not inside.wait(0.2)
        assert deep_gemm.values["sms"] == 112
    leave.set()
    thread.join()
    assert seen == [value]
    assert deep_gemm.values["sms"] == 132


def test_a_value_that_other_versions_take_is_refused(deep_gemm: FakeDeepGemm) -> None:
    class Newer(Follows):
        dimensions = (*Follows.dimensions, Choice("output", "dtype", ("bf16", "f32"), "bf16", needs={"f32": ">=0.2"}))

    with applied(Newer(), shape_of(Newer())):
        pass
    with pytest.raises(ShapeError, match=r"sample.output: f32 needs DeepGEMM >=0.2, found 0.1"):
        applied(Newer(), shape_of(Newer(), output="f32")).__enter__()
    deep_gemm.__version__ = "0.2rc1"
    with pytest.raises(ShapeError):
        applied(Newer(), shape_of(Newer(), output="f32")).__enter__()


def test_without_deep_gemm_only_a_change_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deep_gemm", None)
    with applied(Follows(), shape_of()):
        assert current(Follows()) == {}
    with pytest.raises(ModuleNotFoundError):
        applied(Follows(), shape_of(num_sms=112)).__enter__()


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({"default": 5, "choices": (1, 2)}, "expected 1 or 2, got 5"),
        ({"default": "abc"}, "expected an integer >= 1, got 'abc'"),
        ({"default": None}, "expected an integer >= 1, got null"),
        ({"default": REQUIRED}, "expected an integer >= 1, got REQUIRED"),
        ({"default": 0}, "expected an integer >= 1, got 0"),
        ({"default": 3, "multiple_of": 2}, "expected an integer >= 1 and a multiple of 2, got 3"),
    ],
)
def test_a_default_that_is_no_allowed_value_is_refused(declared: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^setting 's': default: {re.escape(reason)}$"):
        Setting("s", set="set_s", **declared)


def test_the_kind_of_its_dimension_follows_from_its_declaration() -> None:
    assert isinstance(NUM_SMS.dimension, Size) and isinstance(DETERMINISTIC.dimension, Flag)
    assert isinstance(evolve(MK_ALIGNMENT, choices=(128, 256)).dimension, Choice)
    assert BLOCK_SIZE.dimension.meaning == "deep_gemm.set_block_size_multiple_of()"
