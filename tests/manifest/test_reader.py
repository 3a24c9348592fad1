"""From YAML to entries, and every problem that a manifest can have: place, path, text and hint."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from attrs import fields
from hypothesis import given, settings
from hypothesis import strategies as st

from kregistry.errors import InputError, KregistryError, ManifestError, MissingRequirement, UnknownNameError
from kregistry.kernel_type.declaration import KERNEL_KEYS
from kregistry.manifest import Range, load_manifest
from kregistry.manifest.document import parse_document
from kregistry.manifest.format import KernelSource
from kregistry.manifest.reader import read_manifest
from kregistry.registry import Registry
from kregistry.target import TARGETS
from manifests import problems, read, with_kernels

K = "models.v3.kernels[0]"
MISSING_M = "m: {stop: ...}, or a default for all entries: defaults: {m: {stop: ...}}"
N = "an integer >= 1 and a multiple of 8"
K_ALLOWED = "an integer >= 1 and a multiple of 16"


def test_the_keys_that_a_run_time_dimension_may_not_have_are_those_of_an_entry() -> None:
    assert set(KERNEL_KEYS) == {each.name for each in fields(KernelSource)}


def gemm(shape: str = "{n: 16, k: 128}", rest: str = "m: {stop: 8}") -> str:
    return with_kernels(f"{{type: fp8_gemm_nt, shape: {shape}, {rest}}}")


ONE_PROBLEM = {
    # ---- the file ----------------------------------------------------------------------------------------------
    "empty file": ("", "1:1: expected a mapping with version and models, got nothing"),
    "comment only": ("# a\n", "1:1: expected a mapping with version and models, got nothing"),
    "a list": ("- a\n", "1:1: expected a mapping with version and models, got a list"),
    "a text": ("hello\n", "1:1: expected a mapping with version and models, got 'hello'"),
    "newer version": ("version: 2\nnew: 1\n", "1:10: version: expected 1, got 2 | upgrade kregistry"),
    "version 0": ("version: 0\nmodels: {}\n", "1:10: version: expected 1, got 0"),
    "no version": (
        "target: h100\nmodels: {}\n",
        "1:1: version: the key 'version' is missing | add `version: 1`",
    ),
    "version as text": ("version: '1'\ntarget: h100\nmodels: {}\n", "1:10: version: expected 1, got '1'"),
    "version as bool": ("version: true\ntarget: h100\nmodels: {}\n", "1:10: version: expected 1, got true"),
    "no models": ("version: 1\ntarget: h100\n", "1:1: models: the key 'models' is missing"),
    "models is a list": (
        "version: 1\ntarget: h100\nmodels: [a]\n",
        "3:9: models: expected a mapping, got a list",
    ),
    **{
        f"{key} is {value or 'null'}": (
            f"version: 1\ntarget: h100\nmodels: {{}}\n{key}: {value}\n".replace("models: {}\nmodels", "models"),
            f"{3 if key == 'models' else 4}:{len(key) + 2 + bool(value)}: {key}: expected a mapping, got {got}",
        )
        for key in ("models", "defaults", "providers")
        for value, got in (("[a]", "a list"), ("", "nothing"), ("3", "3"), ("text", "'text'"), ("false", "false"))
    },
    "number as key of the file": (
        "version: 1\n2: 3\nmodels: {}\n",
        "2:4: 2: expected a string as key, got 2 | quote it",
    ),
    # ---- unknown keys at each level ----------------------------------------------------------------------------
    "unknown key of the file": (
        "version: 1\ntarget: h100\nmodel: {}\nmodels: {}\n",
        "3:8: model: unknown key | did you mean 'models'?",
    ),
    "x- below the file": (
        with_kernels("{type: fp8_gemm_nt, x-a: 1, shape: {n: 16, k: 128}, m: {stop: 8}}"),
        f"6:34: {K}.x-a: unknown key | known keys: label, m, shape, type",
    ),
    "unknown key of a model": (
        "version: 1\ntarget: h100\nmodels: {a: {kernel: 3, kernels: []}}\n",
        "3:22: models.a.kernel: unknown key | did you mean 'kernels'?",
    ),
    "unknown key of a kernel": (
        with_kernels("{type: fp8_gemm_nt, lable: x, shape: {n: 16, k: 128}, m: {stop: 8}}"),
        f"6:36: {K}.lable: unknown key | did you mean 'label'?",
    ),
    "another kernel type's run-time dimension": (
        gemm(rest="m: {stop: 8}, expected_m: {stop: 8}"),
        f"6:79: {K}.expected_m: unknown key | known keys: label, m, shape, type",
    ),
    "unknown key of a range": (
        gemm(rest="m: {stop: 8, stp: 2}"),
        f"6:71: {K}.m.stp: unknown key | did you mean 'step' or 'stop'?",
    ),
    "unknown key of a target": (
        "version: 1\ntarget: {name: x, base: h100, sms: 3}\nmodels: {}\n",
        "2:36: target.sms: unknown key | did you mean 'num_sms'?",
    ),
    "unknown dimension": (gemm("{n: 16, k: 128, kk: 1}"), f"6:56: {K}.shape.kk: unknown dimension | did you mean 'k'?"),
    # ---- duplicate keys ----------------------------------------------------------------------------------------
    "duplicate key": (
        "version: 1\ntarget: h100\nmodels: {}\ntarget: h100\n",
        "4:1: target: key 'target' is already defined at line 2 | keep one of the two",
    ),
    "duplicate model": (
        "version: 1\ntarget: h100\nmodels:\n  a: {kernels: []}\n  a: {kernels: []}\n",
        "5:3: models.a: key 'a' is already defined at line 4 | keep one of the two",
    ),
    "duplicate dimension": (
        gemm("{n: 16, k: 128, n: 24}"),
        f"6:52: {K}.shape.n: key 'n' is already defined at line 6 | keep one of the two",
    ),
    # ---- models and kernels ------------------------------------------------------------------------------------
    "a model is a text": ("version: 1\ntarget: h100\nmodels: {a: b}\n", "3:13: models.a: expected a mapping, got 'b'"),
    "a model's name is a number": (
        "version: 1\ntarget: h100\nmodels: {3: {kernels: []}}\n",
        "3:13: models.3: expected a string as key, got 3 | quote it",
    ),
    "no kernels": (
        "version: 1\ntarget: h100\nmodels: {a: {}}\n",
        "3:13: models.a.kernels: the key 'kernels' is missing",
    ),
    "kernels is a mapping": (
        "version: 1\ntarget: h100\nmodels: {a: {kernels: {type: x}}}\n",
        "3:23: models.a.kernels: expected a list, got a mapping",
    ),
    "a kernel is a text": (
        with_kernels("fp8_gemm_nt"),
        f"6:9: {K}: expected a mapping with type and shape, got 'fp8_gemm_nt'",
    ),
    "no type": (with_kernels("{shape: {n: 16, k: 128}, m: {stop: 8}}"), f"6:9: {K}.type: the key 'type' is missing"),
    "type is a number": (
        with_kernels("{type: 3, shape: {n: 16, k: 128}, m: {stop: 8}}"),
        f"6:16: {K}.type: expected a string, got 3",
    ),
    "unknown kernel type": (
        with_kernels("{type: fp8_gem_nt, shape: {}, m: {stop: 8}}"),
        f"6:16: {K}.type: unknown kernel type 'fp8_gem_nt' | did you mean 'fp8_gemm_nt'?",
    ),
    "kernel type that looks like none": (
        with_kernels("{type: zzz, shape: {}, m: {stop: 8}}"),
        f"6:16: {K}.type: unknown kernel type 'zzz' | known kernel types: {', '.join(Registry().names())}",
    ),
    "label is a number": (gemm(rest="label: 3, m: {stop: 8}"), f"6:60: {K}.label: expected a string, got 3"),
    # ---- shapes ------------------------------------------------------------------------------------------------
    "no shape": (with_kernels("{type: fp8_gemm_nt, m: {stop: 8}}"), f"6:9: {K}.shape: the key 'shape' is missing"),
    "shape is a text": (
        gemm("big"),
        f"6:36: {K}.shape: expected a mapping of dimensions, or a list of them, got 'big'",
    ),
    "shape is nothing": (
        gemm(""),
        f"6:35: {K}.shape: expected a mapping of dimensions, or a list of them, got nothing",
    ),
    "shape is an empty list": (
        gemm("[]"),
        f"6:36: {K}.shape: expected at least one mapping of dimensions, got an empty list",
    ),
    "a list of lists of shapes": (gemm("[[{n: 16, k: 128}]]"), f"6:37: {K}.shape[0]: expected a mapping, got a list"),
    "a shape in a list is a number": (
        gemm("[{n: 16, k: 128}, 4]"),
        f"6:54: {K}.shape[1]: expected a mapping of dimensions, or a list of them, got 4",
    ),
    "a dimension has no value": (
        gemm("{n: [], k: 128}"),
        f"6:40: {K}.shape.n: expected at least one value, got an empty list",
    ),
    "missing dimension": (
        gemm("{n: 16}"),
        f"6:36: {K}.shape.k: missing, expected {K_ALLOWED} | columns of the input: the dimension that is summed over",
    ),
    "wrong dimension": (gemm("{n: 16, k: 100}"), f"6:47: {K}.shape.k: expected {K_ALLOWED}, got 100"),
    "bool for a dimension": (gemm("{n: true, k: 128}"), f"6:40: {K}.shape.n: expected {N}, got true"),
    "base 60 for a dimension": (gemm("{n: 1:32, k: 128}"), f"6:40: {K}.shape.n: expected {N}, got '1:32'"),
    "one of a list of values": (gemm("{n: [16, 3], k: 128}"), f"6:45: {K}.shape.n[1]: expected {N}, got 3"),
    "a list in a list of values": (gemm("{n: [[16]], k: 128}"), f"6:41: {K}.shape.n[0]: expected {N}, got [16]"),
    "a shared value of a fan-out": (
        gemm("{n: [8, 16, 24], k: 100}"),
        f"6:56: {K}.shape.k: expected {K_ALLOWED}, got 100",
    ),
    "one of a list of shapes": (
        gemm("[{n: 16, k: 128}, {n: 3, k: 128}]"),
        f"6:58: {K}.shape[1].n: expected {N}, got 3",
    ),
    "a rule of the kernel type": (
        gemm("{n: 16, k: 128, scales: ue8m0}"),
        f"6:60: {K}.shape.scales: ue8m0 is refused on sm90 | leave it out, or say f32",
    ),
    "unknown policy": (
        with_kernels("{type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 128, num_splits: ocupancy}, m: {stop: 8}}"),
        f"6:73: {K}.shape.num_splits: expected an integer >= 1 or none or occupancy or vllm-buckets or "
        "flashinfer-buckets, got 'ocupancy' | did you mean 'occupancy'?",
    ),
    # ---- ranges ------------------------------------------------------------------------------------------------
    "no range": (
        with_kernels("{type: fp8_gemm_nt, shape: {n: 16, k: 128}}"),
        f"6:9: {K}.m: the last value of m is missing | {MISSING_M}",
    ),
    "no stop": (gemm(rest="m: {start: 2}"), f"6:56: {K}.m: the last value of m is missing | {MISSING_M}"),
    "an empty range": (gemm(rest="m: "), f"6:55: {K}.m: the last value of m is missing | {MISSING_M}"),
    "stop below start": (gemm(rest="m: {start: 9, stop: 8}"), f"6:56: {K}.m: stop (8) must be >= start (9)"),
    "negative start": (gemm(rest="m: {start: -1, stop: 8}"), f"6:64: {K}.m.start: expected an integer >= 0, got -1"),
    "stop 0": (gemm(rest="m: {stop: 0}"), f"6:63: {K}.m.stop: expected an integer >= 1, got 0"),
    "step 0": (gemm(rest="m: {stop: 8, step: 0}"), f"6:72: {K}.m.step: expected an integer >= 1, got 0"),
    "bool for a number": (gemm(rest="m: {stop: true}"), f"6:63: {K}.m.stop: expected an integer, got true"),
    "float for a number": (gemm(rest="m: {stop: 8.0}"), f"6:63: {K}.m.stop: expected an integer, got 8.0"),
    "text for a number": (gemm(rest="m: {stop: '8'}"), f"6:63: {K}.m.stop: expected an integer, got '8'"),
    "base 60 for a range": (
        gemm(rest="m: 1:64"),
        f"6:56: {K}.m: expected a mapping, got '1:64' | a range is written {{start: 1, stop: 64}}",
    ),
    "base 60 that YAML 1.1 would take": (
        gemm(rest="m: {stop: 1:32}"),
        f"6:63: {K}.m.stop: expected an integer, got '1:32' | a range is written {{start: 1, stop: 32}}",
    ),
    "a list for a range": (gemm(rest="m: [1, 8]"), f"6:56: {K}.m: expected a mapping, got a list"),
    # ---- defaults and providers --------------------------------------------------------------------------------
    "defaults is a list": (
        "version: 1\ntarget: h100\ndefaults: [m]\nmodels: {}\n",
        "3:11: defaults: expected a mapping, got a list",
    ),
    "unknown default": (
        "version: 1\ntarget: h100\ndefaults: {mm: {stop: 8}}\nmodels: {}\n",
        "3:16: defaults.mm: unknown run-time dimension 'mm' | did you mean 'm'?",
    ),
    "wrong default, needed by an entry": (
        gemm(rest="").replace(", }", "}") + "defaults: {m: {stop: 0}}\n",
        "7:22: defaults.m.stop: expected an integer >= 1, got 0",
    ),
    "a default is a number": (
        "version: 1\ntarget: h100\ndefaults: {m: 8}\nmodels: {}\n",
        "3:15: defaults.m: expected a mapping, got 8",
    ),
    "unknown kernel type of a provider": (
        "version: 1\ntarget: h100\nproviders: {fp8_gem_nt: x}\nmodels: {}\n",
        "3:25: providers.fp8_gem_nt: unknown kernel type 'fp8_gem_nt' | did you mean 'fp8_gemm_nt'?",
    ),
    "a provider is a number": (
        "version: 1\ntarget: h100\nproviders: {fp8_gemm_nt: 3}\nmodels: {}\n",
        "3:26: providers.fp8_gemm_nt: expected a string, got 3",
    ),
    "unknown provider": (
        gemm() + "providers: {fp8_gemm_nt: fp8_gem}\n",
        f"6:16: {K}.type: unknown provider of fp8_gemm_nt 'fp8_gem' | did you mean 'fp8_gemm'?",
    ),
}


@pytest.mark.parametrize(("text", "problem"), ONE_PROBLEM.values(), ids=ONE_PROBLEM.keys())
def test_a_problem_is_reported_with_place_path_and_hint(text: str, problem: str) -> None:
    assert problems(text) == [problem]


MANY = """\
version: '1'
target: h10
modles: 3
defaults: {m: {stop: x}}
models:
  a:
    kernel: 3
    kernels:
      - {type: fp8_gemm_nt, label: 3, shape: {n: 3, k: 100, q: 1}}
      - {type: fp8_gemm_nt, shape: {n: [3, 16], k: 100}, m: {start: -1, stop: 0, step: 0, x: 1}}
      - {type: nope, shape: {}}
  3: {kernels: [{type: tf32_hc_prenorm_gemm, shape: {n: 20, k: 128}, m: {stop: 3}}]}
  b: {kernels: 3}
"""


def test_all_problems_of_a_file_are_reported_in_one_run_in_the_order_of_the_file() -> None:
    assert [problem.partition(" | ")[0] for problem in problems(MANY)] == [
        "1:10: version: expected 1, got '1'",
        "2:9: target: unknown target 'h10'",
        "3:9: modles: unknown key",
        "4:22: defaults.m.stop: expected an integer, got 'x'",
        "7:13: models.a.kernel: unknown key",
        "9:36: models.a.kernels[0].label: expected a string, got 3",
        f"9:50: models.a.kernels[0].shape.n: expected {N}, got 3",
        f"9:56: models.a.kernels[0].shape.k: expected {K_ALLOWED}, got 100",
        "9:64: models.a.kernels[0].shape.q: unknown dimension",
        f"10:41: models.a.kernels[1].shape.n[0]: expected {N}, got 3",
        f"10:52: models.a.kernels[1].shape.k: expected {K_ALLOWED}, got 100",
        "10:69: models.a.kernels[1].m.start: expected an integer >= 0, got -1",
        "10:79: models.a.kernels[1].m.stop: expected an integer >= 1, got 0",
        "10:88: models.a.kernels[1].m.step: expected an integer >= 1, got 0",
        "10:94: models.a.kernels[1].m.x: unknown key",
        "11:16: models.a.kernels[2].type: unknown kernel type 'nope'",
        "12:6: models.3: expected a string as key, got 3",
        f"12:57: models.3.kernels[0].shape.n: expected {N}, got 20",
        "13:16: models.b.kernels: expected a list, got 3",
    ]


def test_a_newer_format_is_reported_alone() -> None:
    assert problems(MANY.replace("'1'", "2")) == ["1:10: version: expected 1, got 2 | upgrade kregistry"]


def test_a_complete_entry() -> None:
    manifest = read(gemm(rest="label: q, m: {start: 2, stop: 9, step: 3}"))
    (entry,) = manifest.entries
    assert (entry.model, entry.label, entry.kernel_type) == ("v3", "q", "fp8_gemm_nt")
    assert entry.shape.shown() == {"n": 16, "k": 128, "scales": "f32"}
    assert entry.range == Range("m", 2, 8, 3)
    assert list(entry.range.values()) == [2, 5, 8]
    assert str(entry) == "v3: fp8_gemm_nt n=16 k=128 scales=f32 (q)"
    assert (manifest.models, manifest.target, manifest.file) == (("v3",), TARGETS["h100"], "k.yaml")


def test_a_fan_out_is_in_the_order_of_the_file() -> None:
    shapes = [str(each.shape) for each in read(gemm("[{n: [8, 16], k: [16, 32]}, {k: 64, n: 8}]")).entries]
    pairs = [(8, 16), (8, 32), (16, 16), (16, 32), (8, 64)]
    assert shapes == [f"n={n} k={k} scales=f32" for n, k in pairs]


@settings(derandomize=True, max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(1, 400).map(lambda n: 8 * n), min_size=1, max_size=4, unique=True),
            st.lists(st.integers(1, 400).map(lambda k: 16 * k), min_size=1, max_size=4, unique=True),
            st.lists(st.sampled_from(["f32", "ue8m0"]), min_size=1, max_size=2, unique=True),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_fan_out_is_the_product_of_its_lists(shapes: list[tuple[list[int], list[int], list[str]]]) -> None:
    text = ", ".join(f"{{n: {n}, k: {k}, scales: {scales}}}" for n, k, scales in shapes)
    entries = read(gemm(f"[{text}]"), REGISTRY, "b200").entries
    assert len(entries) == sum(math.prod(map(len, shape)) for shape in shapes)
    expected = {(n, k, s) for ns, ks, scales in shapes for n in ns for k in ks for s in scales}
    assert {(each.shape.n, each.shape.k, each.shape.scales) for each in entries} == expected


REGISTRY = Registry()


# ---- defaults, anchors, x- keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("", Range("m", 4, 64, 4)),
        ("m: {}", Range("m", 4, 64, 4)),
        ("m: {stop: 8}", Range("m", 4, 8, 4)),
        ("m: {start: 1, stop: 8, step: 1}", Range("m", 1, 8, 1)),
        ("m: {step: 7}", Range("m", 4, 60, 7)),
    ],
)
def test_defaults_fill_what_an_entry_leaves_out(own: str, expected: Range) -> None:
    text = gemm(rest=own).replace(", }", "}") + "defaults: {m: {start: 4, stop: 64, step: 4}, expected_m: {stop: 3}}\n"
    assert read(text).entries[0].range == expected


def test_the_kernel_type_gives_start_and_step_where_nobody_else_does() -> None:
    text = with_kernels(
        "{type: m_grouped_fp8_gemm_nt_contiguous, shape: {num_groups: 2, n: 16, k: 128}, m: {stop: 300}}"
    )
    assert read(text).entries[0].range == Range("m", 128, 256, 128)


def test_anchors_and_merge_keys() -> None:
    text = """
version: 1
target: h100
x-base: &base {n: 16, k: 128}
x-span: &span {stop: 8}
models:
  a: &a
    kernels:
      - {type: fp8_gemm_nt, shape: {<<: *base, k: 256}, m: *span}
  b: *a
"""
    assert [str(each) for each in read(text).entries] == [
        f"{model}: fp8_gemm_nt n=16 k=256 scales=f32" for model in "ab"
    ]


def test_a_problem_in_a_merged_value_stands_where_it_was_written() -> None:
    text = """\
version: 1
target: h100
x-base: &base
  n: 17
models: {a: {kernels: [{type: fp8_gemm_nt, shape: {<<: *base, k: 256}, m: {stop: 8}}]}}
"""
    assert problems(text) == [f"4:6: models.a.kernels[0].shape.n: expected {N}, got 17"]


# ---- targets: the caller's word, the manifest's, none ----------------------------------------------------------------


def test_the_callers_target_wins() -> None:
    assert read(gemm(), target="b200").target is TARGETS["b200"]
    assert read(gemm(), target=TARGETS["h20"]).entries[0].shape.target is TARGETS["h20"]


def test_the_callers_unknown_target_is_an_error_of_its_own() -> None:
    with pytest.raises(UnknownNameError, match="unknown target 'h10'"):
        read(gemm(), target="h10")


def test_selecting_models() -> None:
    manifest = read("version: 1\ntarget: h100\nmodels: {aa: {kernels: []}, bb: {kernels: []}}\n")
    assert manifest.select([]) is manifest
    assert manifest.select(["bb", "bb"]).models == ("bb",)
    with pytest.raises(UnknownNameError) as caught:
        manifest.select(["aa", "cc"])
    assert str(caught.value) == "unknown model 'cc'\nhint: known models: aa, bb"


def test_the_shipped_manifest_is_valid() -> None:
    manifest = load_manifest(Path(__file__).parents[2] / "kernels.yaml", Registry())
    assert manifest.models == ("deepseek-v3", "deepseek-v4-flash", "deepseek-v4-pro")
    assert len(manifest.select(["deepseek-v3"]).entries) == 12


# ---- whatever the file holds, the errors are ours ------------------------------------------------------------------

#: Words of the format, and words that YAML gives a meaning.
_TEXT = """
version target models kernels type label shape m start stop step defaults providers name base n k x-a fp8_gemm_nt h100
detect none 1 0 -1 8 1.5 1:32 true null 2024-13-01 ~ = << !!int !!set *a &a
"""
_WORDS = st.sampled_from(_TEXT.split())
_SCALARS = _WORDS | st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=8)
_DATA = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_SCALARS, inner, max_size=5), max_leaves=25
)


def _never_surprises(text: str) -> None:
    try:
        read_manifest(parse_document(text, "k.yaml"), REGISTRY)
    except MissingRequirement as error:
        assert "detect" in error.message
    except KregistryError as error:
        assert isinstance(error, (ManifestError, InputError))
        assert str(error)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.text(st.sampled_from("abmnk:{}[],-#&*!|>'\"%@`~<= \n\t0123456789.?\\\0\x85\ufeff"), max_size=60))
def test_random_text_never_surprises(text: str) -> None:
    _never_surprises(text)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(_DATA)
def test_random_data_never_surprises(data: object) -> None:
    import yaml

    _never_surprises(yaml.safe_dump(data, allow_unicode=True))


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["target", "defaults", "providers", "modles"]), _DATA, max_size=3),
    st.dictionaries(
        st.sampled_from(["type", "label", "shape", "m", "expected_m", "x"]),
        st.sampled_from(["fp8_gemm_nt", {"n": 16, "k": 128}, {"stop": 8}]) | _DATA,
    ),
    _DATA,
)
def test_random_data_in_a_manifest_never_surprises(root: dict[str, object], kernel: object, model: object) -> None:
    import yaml

    data = {"version": 1, **root, "models": {"a": {"kernels": [kernel]}, "b": model}}
    _never_surprises(yaml.safe_dump(data, allow_unicode=True))


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.integers(0, len(MANY)), st.integers(0, len(MANY)), st.text(max_size=3))
def test_a_damaged_manifest_never_surprises(start: int, length: int, patch: str) -> None:
    _never_surprises(MANY[:start] + patch + MANY[start + length % 20 :])


LIMITS = {
    "a range of every m": ("{type: fp8_gemm_nt, shape: {n: 8, k: 128}, m: {stop: 2000000000}}", "2000000000 values"),
    "beyond 32 bits": ("{type: fp8_gemm_nt, shape: {n: 8, k: 128}, m: {stop: 1000000000000}}", "must be <= 2147483647"),
    "a fan-out": (
        f"{{type: fp8_gemm_nt, shape: {{n: {[8] * 1000}, k: {[128] * 1000}}}, m: {{stop: 8}}}}",
        "1000000 combinations of values, more than 10000",
    ),
}


@pytest.mark.parametrize(("item", "problem"), LIMITS.values(), ids=LIMITS.keys())
def test_what_would_take_hours_or_gigabytes_is_refused(item: str, problem: str) -> None:
    (found,) = problems(with_kernels(item))
    assert problem in found


def test_only_the_first_problems_of_a_file_are_shown() -> None:
    text = with_kernels(*["{type: fp8_gemm, shape: 5}"] * 1000)
    with pytest.raises(ManifestError) as caught:
        read(text)
    assert len(caught.value.problems) == 100
    assert str(caught.value).endswith("\nthe first 100 problems in k.yaml")


def test_a_message_never_repeats_a_long_value() -> None:
    long = "x" * 5000
    for item in (f"type: {long}", f"type: fp8_gemm_nt, {long}: 1", f"type: fp8_gemm_nt, shape: {{n: {long}}}"):
        found = problems(with_kernels(f"{{{item}}}"))
        assert found and not any("x" * 201 in each for each in found)
