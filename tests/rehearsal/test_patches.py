"""Patches fail loudly: a function that is gone or has other parameters is named."""

from __future__ import annotations

import importlib
import re
import sys
from collections import Counter
from importlib import metadata
from types import ModuleType
from typing import Any

import pytest
from packaging.version import Version

from kregistry.rehearsal.patches import Patch, PatchError, apply, cutlass, downloads, patch, replace
from kregistry.rehearsal.patches.catalogue import PATCHES, VERSIONS, before_import


def module() -> Any:
    found = ModuleType("engine")

    def run(a: int, b: int) -> int:
        return a + b

    vars(found)["run"] = run
    return found


def test_a_function_is_replaced_and_the_old_one_returned() -> None:
    engine = module()
    old = replace(engine, "run", lambda a, b: 0, parameters="a b")
    assert (engine.run(1, 2), old(1, 2)) == (0, 3)


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("walk", None, "AttributeError: walk"),
        ("run", "a b c", "TypeError: engine.run has the parameters (a b), and the patch knows (a b c)"),
    ],
)
def test_a_change_of_the_engine_is_named(name: str, parameters: str | None, text: str) -> None:
    @patch("an-engine")
    def stops_it() -> None:
        """It would run."""
        replace(module(), name, None, parameters=parameters)

    with pytest.raises(PatchError) as caught:
        apply([stops_it])
    assert str(caught.value) == f"the patch stops_it does not fit the installed an-engine: {text}"


def test_static_methods_stay_static() -> None:
    class Queue:
        @staticmethod
        def create() -> str:
            return "real"

    replace(Queue, "create", lambda: "fake")
    assert Queue().create() == "fake"


@pytest.mark.parametrize("engine", VERSIONS)
def test_every_patch_says_why(engine: str) -> None:
    patches: tuple[Patch, ...] = (*before_import(engine), *PATCHES[engine])
    assert patches
    for each in patches:
        assert each.why.endswith(".") and each.package
    assert len({each.name for each in patches}) == len(patches)


@pytest.mark.parametrize(
    ("version", "applied"), [("0.5.15.post1", ["15"]), ("0.5.16", ["16"]), ("0.5.23", ["later"]), ("0.6.0", ["later"])]
)
def test_a_patch_is_applied_to_the_versions_that_need_it(
    version: str, applied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: version)
    done: list[str] = []
    forms = [("<=0.5.15.post1", "15"), (">0.5.15.post1,<=0.5.16", "16"), (">0.5.16", "later")]
    apply(patch("sglang", versions)(lambda name=name: done.append(name)) for versions, name in forms)  # type: ignore[misc]
    assert done == applied


@pytest.mark.parametrize("engine", VERSIONS)
def test_each_thing_is_patched_once_in_every_version(engine: str) -> None:
    """Forms of one patch, ``name`` and ``name_16``, leave no known version out and do not overlap."""
    forms: dict[str, list[Patch]] = {}
    for each in (*before_import(engine), *PATCHES[engine]):
        if each.package == engine:
            forms.setdefault(re.sub(r"_\d+$", "", each.name), []).append(each)
    for name, patches in forms.items():
        counts = {sum(Version(version) in each.versions for each in patches) for version in VERSIONS[engine]}
        assert counts <= ({1} if len(patches) > 1 else {0, 1}), name


def test_a_function_is_replaced_where_it_was_imported_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads of FlashInfer; a function of the same name that is another one stays."""
    owner, user, other = (ModuleType(f"flashinfer.{name}") for name in ("jit", "core", "other"))
    vars(owner)["gen_x"] = vars(user)["gen_x"] = lambda: "downloads"
    vars(other)["gen_x"] = lambda: "other"
    for each in (owner, user, other):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    downloads._everywhere(owner, "gen_x", downloads._described("x"))
    for each in (owner, user):
        assert each.gen_x(True).name == "x" and each.gen_x().get_library_paths() == ()
    assert other.gen_x() == "other"


def test_cutlass_has_every_name_and_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, cutlass._Finder()])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    module = importlib.import_module("quack.compile_utils")
    kernel, number = module.kernel, module.Int32
    assert kernel(test_static_methods_stay_static) is test_static_methods_stay_static
    assert number(3) is number and number | None is number and number[4] is number

    class Derived(number):  # type: ignore[misc, valid-type]
        pass

    with pytest.raises(ImportError):
        importlib.import_module("quark.compile_utils")


def test_kernels_of_cutlass_are_counted_and_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are called: compiled, with options or not, or through the decorator, of a method too."""
    monkeypatch.setattr(sys, "meta_path", [cutlass._Finder(), *sys.meta_path])
    monkeypatch.setattr(sys, "modules", {k: v for k, v in sys.modules.items() if k.partition(".")[0] != "cutlass"})
    counts: Counter[str] = Counter()
    monkeypatch.setattr(cutlass, "count", lambda what: counts.update([what]))
    cute, below = importlib.import_module("cutlass.cute"), importlib.import_module("cutlass").other

    def fails(*args: object) -> None:
        raise AssertionError("a kernel was run")

    class Kernel:
        run = cute.jit(fails)
        other = cute.jit(preprocess=True)(fails)

    assert cute.compile(fails, 1)(2) is below.compile[cute.Option](Kernel(), 1)(2) is None
    assert Kernel().run(1) is Kernel().other(1) is None
    assert counts == {"cutlass fails": 3, "cutlass Kernel": 1}
    assert list(range(below.Int32.width // 8)) == [0]
