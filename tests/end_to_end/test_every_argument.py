"""Every optional argument and every process-wide setter of the installed DeepGEMM: built for, or refused.

Each optional argument of each function that a kernel type claims is given other values, and each setter is called.
What the kernel type reads is planned and built. Then a server makes the same calls on the filled cache, watched by a
registry that refuses what is not covered: it compiles nothing, and whatever was not read is refused as unknown.

The outcomes are kept in tests/data/arguments.json, so that an argument or a setter of a new version is a failure until
somebody has looked at it: ``KREGISTRY_WRITE_ARGUMENTS=1 pytest -n 0 tests/end_to_end/test_every_argument.py`` adds the
installed version.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen
from compilers import copying_toolkit
from stub_server import StubServers

from kregistry.compile.plan_and_build import build_kernels
from kregistry.conformance.cases import value_of
from kregistry.conformance.rules.arguments import optional_parameters, other_values, read_with
from kregistry.deep_gemm.known_settings import HARMLESS_SETTERS, KNOWN
from kregistry.deep_gemm.settings import applied, is_known
from kregistry.errors import ShapeError
from kregistry.kernel_type import Choice, Flag, KernelType, Setting, Shape
from kregistry.kernel_type.signature import parameters_of
from kregistry.manifest import load_manifest
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.stub.library import compile_stub
from kregistry.target import Target, get_target
from kregistry.toolchain import Toolchain, find_toolchain, require_deep_gemm

KEPT = Path(__file__).parents[1] / "data" / "arguments.json"
OUTCOMES: dict[str, dict[str, dict[str, str]]] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
WRITES = bool(os.environ.get("KREGISTRY_WRITE_ARGUMENTS"))
TARGETS = ("h100", "b200", "rtx-pro-6000")
#: What setters that change no kernel are given, and what takes it back.
HARMLESS: dict[str, tuple[Any, Any]] = {}
#: Values of settings that are numbers.
NUMBERS = {"mk_alignment": (64,), "tc_util": (40,)}


@frozen
class MadeCall:
    """A call that a server makes, and the shape that the kernel type reads off it; ``None`` if it does not know it."""

    kernel_type: str
    shape: Mapping[str, Any]
    m: int
    about: str
    read: Shape | None
    arguments: Mapping[str, Any] = field(factory=dict)
    setter: tuple[str, Any, Any] | None = None

    def __str__(self) -> str:
        return f"{self.kernel_type} {dict(self.shape)} m={self.m} {dict(self.arguments) or self.setter}"

    def as_json(self) -> dict[str, Any]:
        return {
            "type": self.kernel_type,
            "shape": dict(self.shape),
            "m": self.m,
            "arguments": dict(self.arguments),
            "setter": self.setter,
        }

    def entry(self) -> tuple[str, str, int]:
        """The entry of a manifest that covers it."""
        assert self.read is not None
        return self.kernel_type, json.dumps(dict(self.read.shown())), self.m


def kernel_types(registry: Registry, target: Target) -> Iterator[tuple[KernelType, Shape, int]]:
    """Each kernel type that works on a target, with its first example there."""
    version = require_deep_gemm()
    for name in registry.names():
        kernel_type = registry[name]
        if kernel_type.unsupported_reason(target, version) is not None or "cuda" not in kernel_type.proof.devices:
            continue
        for example in kernel_type.proof.examples:
            try:
                shape = kernel_type.resolve(example, target)
            except ShapeError:
                continue
            yield kernel_type, shape, value_of(kernel_type, "tail")
            break


def calls_with_arguments(kernel_type: KernelType, shape: Shape, m: int) -> Iterator[MadeCall]:
    parameters = parameters_of(kernel_type.function())
    with applied(kernel_type, shape):
        call = kernel_type.arguments(kernel_type.allocate_buffers(shape, m, device="meta"), m)
        for name, default in optional_parameters(parameters):
            for value in other_values(kernel_type, name, default, call, parameters):
                read = read_with(kernel_type, shape, call, {name: value})
                if (archs := kernel_type.without_effect.get(name)) and shape.target.arch not in archs:
                    read = None  # on the device of a server
                yield MadeCall(kernel_type.name, shape.shown(), m, name, read, {name: value})


def calls_with_setters(kernel_type: KernelType, shape: Shape, m: int) -> Iterator[MadeCall]:
    for setting in KNOWN:
        if not is_known(setting):
            continue
        before = setting.to_argument(setting.dimension.default_for(shape.target))
        for value in set_values(setting, shape.target):
            read: Shape | None = shape
            for own in kernel_type.settings:  # it may have another default or other limits there
                if own.set == setting.set and own.matters_on(shape.target.arch):
                    try:
                        read = kernel_type.resolve({**shape.shown(), own.name: value}, shape.target)
                    except ShapeError:
                        read = None
            setter = (setting.set, setting.to_argument(value), before)
            yield MadeCall(kernel_type.name, shape.shown(), m, f"{setting.set}()", read, setter=setter)
    for name in HARMLESS_SETTERS:
        setter = (name, *HARMLESS[name])
        yield MadeCall(kernel_type.name, shape.shown(), m, f"{name}()", shape, setter=setter)


def set_values(setting: Setting, target: Target) -> tuple[Any, ...]:
    """Values other than the default."""
    default = setting.dimension.default_for(target)
    if isinstance(setting.dimension, Flag):
        return (not default,)
    if isinstance(setting.dimension, Choice):
        return tuple(each for each in ("1x64", "64x64") if each in setting.dimension.choices)
    return (int(default) - 2, 64) if setting.name == "num_sms" else NUMBERS[setting.name]


def test_every_setter_is_known() -> None:
    """A new one is a setting, or proved to change no kernel, before this file can say what its calls come to."""
    import deep_gemm

    found = {name for name in dir(deep_gemm) if name.startswith(("set_", "use_"))}
    assert found <= {*(setting.set for setting in KNOWN), *HARMLESS_SETTERS}
    assert set(HARMLESS) == set(HARMLESS_SETTERS)


@pytest.mark.nvcc
@pytest.mark.stub
@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_what_is_read_is_built_and_what_is_not_read_is_refused(
    name: str,
    toolchain: Toolchain,
    cubin: bytes,
    stub_directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry, target = Registry(), get_target(name)
    calls = [
        call
        for kernel_type, shape, m in kernel_types(registry, target)
        for call in (*calls_with_arguments(kernel_type, shape, m), *calls_with_setters(kernel_type, shape, m))
    ]
    if not calls:
        assert name == "rtx-pro-6000"  # DeepGEMM 0.1 has nothing for it
        return
    monkeypatch.setenv("CUDA_HOME", str(copying_toolkit(tmp_path / "cuda", toolchain, cubin)))
    monkeypatch.setenv("DG_JIT_CACHE_DIR", str(tmp_path / "cache"))
    manifest = write_manifest(tmp_path / "kernels.yaml", name, calls, registry)
    report = build_kernels(
        load_manifest(manifest, registry), registry, store=Store(tmp_path / "store"), toolchain=find_toolchain()
    )
    assert not report.failed
    (tmp_path / "servers").mkdir()
    with StubServers(toolchain, compile_stub(toolchain, stub_directory), tmp_path / "servers", name) as servers:
        served = servers.serve(manifest, os.environ, calls=[call.as_json() for call in calls])
    assert (served.error, served.calls) == ("", len(calls))
    wrong = [f"{call}: {result}" for call, result in zip(calls, served.results) if not as_it_should(call, result)]
    assert wrong == [], "\n".join(wrong)
    found: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for call, result in zip(calls, served.results):
        found[call.kernel_type][call.about].add(outcome(call, result))
    compare(
        name, {each: {about: ", ".join(sorted(kinds)) for about, kinds in row.items()} for each, row in found.items()}
    )


def outcome(call: MadeCall, result: str) -> str:
    """What a call came to in the server."""
    if result.startswith("UnseenCallError: "):
        return "unknown"
    if result != "called":
        return "refused by DeepGEMM"
    return "no effect" if call.read is not None and call.read.shown() == call.shape else "planned"


def as_it_should(call: MadeCall, result: str) -> bool:
    """No compile; what was read is covered, and what was not is refused before DeepGEMM sees it."""
    if result.startswith("compiles, "):
        return False
    if call.read is None:
        return result != "called"  # a value of a strange type may equal one that is covered, as True equals 1
    return not result.startswith("UnseenCallError: ")


def write_manifest(path: Path, target: str, calls: list[MadeCall], registry: Registry) -> Path:
    entries = dict.fromkeys(call.entry() for call in calls if call.read is not None)
    kernels = [
        {"type": name, "shape": json.loads(shape), registry[name].run_dimension.name: {"start": m, "stop": m}}
        for name, shape, m in entries
    ]
    path.write_text(json.dumps({"version": 1, "target": target, "models": {"every": {"kernels": kernels}}}))
    return path


def compare(target: str, found: dict[str, dict[str, str]]) -> None:
    """With what is kept for this version: kernel type -> argument or setter -> outcomes."""
    version = require_deep_gemm()
    if WRITES:
        kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
        kept.setdefault(version, {})[target] = found
        KEPT.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        return
    assert version in OUTCOMES, "no outcomes are kept for this version: see the top of this file"
    assert found == OUTCOMES[version][target]
