"""A fingerprint changes with everything that a plan depends on, and with nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path

import pytest
from attrs import evolve
from shapes import entry_of

from kregistry import KernelType, hookimpl
from kregistry.deep_gemm.nvcc_flags import EnvironmentFlags
from kregistry.manifest import Manifest
from kregistry.plan.fingerprint import fingerprint
from kregistry.registry import Registry
from kregistry.target import get_target
from kregistry.toolchain import Toolchain


def test_same_inputs_same_fingerprint(tiny_manifest: Manifest, toolchain: Toolchain) -> None:
    assert fingerprint(tiny_manifest, Registry(), toolchain, {}) == fingerprint(
        tiny_manifest, Registry(), toolchain, {"HOME": "elsewhere", "DG_JIT_CACHE_DIR": "elsewhere"}
    )


def test_every_input_counts(tiny_manifest: Manifest, toolchain: Toolchain) -> None:
    (entry,) = tiny_manifest.entries
    changed_range = evolve(tiny_manifest, entries=(evolve(entry, range=evolve(entry.range, stop=99)),))
    other_torch = evolve(toolchain, versions=evolve(toolchain.versions, torch="9.9"))
    registry = Registry()
    prints = [
        fingerprint(tiny_manifest, registry, toolchain, {}),
        fingerprint(changed_range, registry, toolchain, {}),
        fingerprint(evolve(tiny_manifest, target=get_target("h20")), registry, toolchain, {}),
        fingerprint(tiny_manifest, registry, other_torch, {}),
        fingerprint(tiny_manifest, registry, toolchain, {"DG_JIT_DEBUG": "1"}),
    ]
    assert len(set(prints)) == len(prints)


def test_what_decides_machine_code_counts(tiny_manifest: Manifest, toolchain: Toolchain, tmp_path: Path) -> None:
    """The compiler's own headers, its profile, and arguments of its environment, with the headers that they name."""
    registry, standard = Registry(), toolchain.cuda.compiler
    for name, text in (("one", "1"), ("two", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cuda_runtime.h").write_text(text)
    compilers = [
        standard,
        evolve(standard, includes=(tmp_path / "one",)),
        evolve(standard, includes=(tmp_path / "two",)),
        evolve(standard, profile=("PTXAS_FLAGS=-O1",)),
        evolve(standard, flags=EnvironmentFlags(appended=("-lineinfo",))),
        evolve(standard, flags=EnvironmentFlags(prepended=("-lineinfo",))),
        evolve(standard, flags=EnvironmentFlags(appended=(f"-I{tmp_path}/one",))),
    ]
    prints = [
        fingerprint(tiny_manifest, registry, evolve(toolchain, cuda=evolve(toolchain.cuda, compiler=compiler)), {})
        for compiler in compilers
    ]
    assert len(set(prints)) == len(prints)
    host = evolve(standard, flags=EnvironmentFlags(host=("-ccbin=gcc",)), path=tmp_path / "nvcc")
    moved = evolve(toolchain, cuda=evolve(toolchain.cuda, compiler=host))
    assert fingerprint(tiny_manifest, registry, moved, {}) == prints[0]


def test_the_name_of_a_device_does_not_count(tiny_manifest: Manifest, toolchain: Toolchain) -> None:
    """A plan for h100 is that of a device that is detected as one: its driver keeps some memory for itself."""
    target = tiny_manifest.target
    detected = evolve(target, name="detected-h100", memory_bytes=target.memory_bytes - (700 << 20))
    other = evolve(target, num_sms=target.num_sms - 2)
    prints = [
        fingerprint(evolve(tiny_manifest, target=each), Registry(), toolchain, {}) for each in (target, detected, other)
    ]
    assert prints[0] == prints[1] != prints[2]


def test_the_source_of_the_plugin_counts(toolchain: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a module of the package that the kernel type only imports from."""
    package = tmp_path / "some_plugin"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shared.py").write_text("NUMBER = 1\n")
    (package / "kinds.py").write_text("from sample_kernel_types import Prenorm\n\n\nclass Mine(Prenorm):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = importlib.import_module("some_plugin.kinds").Mine()
    registry = Registry(load_entry_points=False)

    class Plugin:
        @hookimpl
        def kregistry_kernel_types(self) -> Iterable[KernelType]:
            yield kind

    registry.register(Plugin())
    entry = entry_of(kind)
    manifest = Manifest("k.yaml", get_target("h100"), ("a",), (entry,), {})
    before = fingerprint(manifest, registry, toolchain, {})
    assert fingerprint(manifest, registry, toolchain, {}) == before
    (package / "shared.py").write_text("NUMBER = 2\n")
    assert fingerprint(manifest, registry, toolchain, {}) != before


def test_the_source_of_a_package_is_read_once(
    tiny_manifest: Manifest, toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many of its kernel types a manifest has: a server's start waits for this."""
    registry, read, read_bytes = Registry(), list[Path](), Path.read_bytes
    target = tiny_manifest.target
    shapes = [registry[name].resolve({"n": 512, "k": 512}, target) for name in ("fp8_gemm_nt", "bf16_gemm_nt")]
    entries = tuple(evolve(tiny_manifest.entries[0], shape=shape) for shape in shapes)

    def noting(path: Path) -> bytes:
        read.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", noting)
    fingerprint(evolve(tiny_manifest, entries=entries), registry, toolchain, {})
    ours = [path for path in read if path.suffix == ".py" and "kregistry_plugins" in path.parts]
    assert ours and len(ours) == len(set(ours))
