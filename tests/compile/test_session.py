"""A session that begins before plugins are loaded: compilers start, and nothing is lost or left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result
from compilers import slow_toolkit
from events import EventLog

from kregistry.compile import BuildReport
from kregistry.compile.plan_and_build import build_kernels
from kregistry.compile.session import Session, begin_with_headers, begin_with_lock
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import InputError
from kregistry.event_bus import EventBus
from kregistry.manifest import Manifest
from kregistry.manifest.glance import Glance
from kregistry.plan.lock import write_lock
from kregistry.registry import Registry
from kregistry.remote.chain import Chain
from kregistry.store import Store
from kregistry.toolchain import Toolchain

pytestmark = [pytest.mark.stub, pytest.mark.nvcc]
Run = Callable[..., Result]

#: Only for what comes after the first compiler: plugins, manifests, policies, bundles, plans, progress.
LATER = (
    *("yaml", "torch", "deep_gemm", "rich", "kregistry_plugins", "kregistry.registry", "kregistry.manifest.reader"),
    *("kregistry.trust.policy", "kregistry.remote.bundle", "kregistry.compile.build_log", "kregistry.plan.planner"),
    *("kregistry.cli.progress", "kregistry.compile.cluster"),
)


@pytest.fixture
def lock(tiny_build: BuildReport, toolchain: Toolchain, tmp_path: Path) -> Path:
    path = tmp_path / "k.lock"
    write_lock(tiny_build.plan, path, toolchain.cuda.compiler)
    return path


@pytest.fixture
def slow(toolchain: Toolchain, session_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that takes longer than any test."""
    cubin = next(session_store.directory.glob("kernels/*/*/kernel.cubin")).read_bytes()
    monkeypatch.setenv("CUDA_HOME", str(slow_toolkit(tmp_path / "cuda", toolchain, cubin, 600.0)))


def left(store: Store) -> list[str]:
    """What a build must not leave behind."""
    return [str(path) for kind in ("claims", "tmp") for path in (store.directory / kind).iterdir()]


def test_what_comes_after_the_first_compiler_is_not_imported_before_it() -> None:
    code = "import json, sys\nimport kregistry.cli.build_command, kregistry.compile.session\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(json.dumps(sorted(sys.modules)))"], capture_output=True, check=True
    )
    assert set(json.loads(done.stdout)) & {*LATER} == set()


def test_a_build_goes_on_with_the_session_that_has_begun(
    lock: Path, tiny_manifest: Manifest, session_store: Store, tmp_path: Path
) -> None:
    """Whoever listens only after it has begun hears of everything, and the kernel counts once."""
    shutil.copytree(session_store.directory / "plans", tmp_path / "store" / "plans")
    store, log, events = Store(tmp_path / "store"), EventLog(), EventBus()
    jit_cache = JitCache(tmp_path / "jit")
    with begin_with_lock(lock, events, store, jobs=1, remote=Chain(())) as session:
        assert session is not None and session.has_early
        registry = Registry(events=events)
        registry.listen(log)
        report = build_kernels(
            tiny_manifest, registry, store=store, jit_cache=jit_cache, lock=lock, remote=Chain(()), session=session
        )
    events.flush()
    assert (len(report.compiled), report.found, report.ready, report.filled) == (1, 0, 1, 1)
    names = log.names()
    assert names.count("kregistry_compile_started") == names.count("kregistry_kernel_compiled") == 1
    tasks = [sum(name == f"kregistry_task_{end}" for name, _ in log.calls) for end in ("started", "finished")]
    assert tasks[0] == tasks[1] > 0
    (kernel,) = report.plan.kernels.values()
    assert jit_cache.cubin(kernel).is_file() and left(store) == []


@pytest.mark.usefixtures("slow")
def test_leaving_a_session_ends_its_compilers(lock: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(InputError), begin_with_lock(lock, EventBus(), store, remote=Chain(())) as session:
        assert session is not None
        raise InputError("the manifest is wrong")
    assert left(store) == [] and not list(store.directory.glob("kernels/*/*"))
    session.__exit__(None, None, None)  # again: nothing happens


def test_where_a_lock_file_does_not_help_nothing_begins(
    lock: Path, session_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(store: Store, paranoid: bool = False) -> Session | None:
        with begin_with_lock(lock, EventBus(), store, paranoid=paranoid, remote=Chain(())) as session:
            return session

    store = Store(tmp_path / "store")
    monkeypatch.setenv("KREGISTRY_NO_SHARED_FRONT_END", "1")
    assert begun(store, paranoid=True) is None  # a contradiction
    content = json.loads(lock.read_text())
    (source,) = content["sources"]["kernels"].values()
    source["source"] = source["source"].replace("#include <", f"#include <{'a' * 300}", 1)
    lock.write_text(json.dumps(content))
    assert begun(store) is None  # a header whose name no file can have
    lock.write_text("{")
    assert begun(store) is None
    assert not store.directory.exists()


@pytest.mark.usefixtures("slow")
def test_a_wrong_manifest_beside_a_good_lock_file_is_reported(kregistry: Run, lock: Path, tmp_path: Path) -> None:
    file = lock.with_suffix(".yaml")
    file.write_text("version: 1\nmodels: {}\nkernels: []\n")
    result = kregistry("build", file, "--store", tmp_path / "store", "--cache-dir", tmp_path / "jit")
    assert result.code == 2 and f"{file}:3:1" in result.err, result.err
    assert left(Store(tmp_path / "store")) == []


def seen_in(manifest: Manifest) -> Glance:
    return Glance(frozenset(entry.kernel_type for entry in manifest.entries), manifest.target)


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ships with the package is used."""
    monkeypatch.delenv("KREGISTRY_NO_SHIPPED")


@pytest.mark.usefixtures("slow", "shipped")
def test_a_wrong_manifest_of_known_kernel_types_is_reported(kregistry: Run, tmp_path: Path) -> None:
    """Compilers may have started."""
    file = tmp_path / "kernels.yaml"
    kernels = "[{type: fp8_gemm_nt, shape: {n: wrong}}]"
    file.write_text(f"version: 1\ntarget: h100\nmodels: {{a: {{kernels: {kernels}}}}}\n")
    done = kregistry("build", file, "--store", tmp_path / "store")
    assert done.code == 2 and "wrong" in done.err
    assert left(Store(tmp_path / "store")) == []


@pytest.mark.usefixtures("shipped")
def test_a_build_goes_on_with_the_headers_that_are_being_parsed(
    tiny_manifest: Manifest, session_store: Store, tmp_path: Path
) -> None:
    """They are parsed once, and no kernel is compiled that the plan does not have."""
    shutil.copytree(session_store.directory / "plans", tmp_path / "store" / "plans")
    store, events, jit_cache = Store(tmp_path / "store"), EventBus(), JitCache(tmp_path / "jit")
    with begin_with_headers(seen_in(tiny_manifest), events, store, jobs=2, remote=Chain(())) as session:
        assert session is not None and not session.has_early
        assert session.pipeline._nvcc._has_started.wait(60)
        report = build_kernels(
            tiny_manifest,
            Registry(events=events),
            store=store,
            jit_cache=jit_cache,
            remote=Chain(()),
            session=session,
        )
    assert (len(report.compiled), report.ready, report.filled) == (1, 1, 1)
    families = [each.family for each in report.sharing.parsed]
    assert families and len(families) == len(set(families))
    assert left(store) == []


@pytest.mark.usefixtures("shipped")
def test_where_headers_do_not_help_nothing_begins(
    tiny_manifest: Manifest, session_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begun(store: Store, **options: bool) -> Session | None:
        with begin_with_headers(seen, EventBus(), store, remote=Chain(()), **options) as session:
            return session

    seen, store = seen_in(tiny_manifest), Store(tmp_path / "store")
    assert begun(session_store) is None  # it holds kernels: perhaps all
    assert begun(store, shared_front_end=False) is None
    assert begun(store, shared_front_end=False, paranoid=True) is None  # a contradiction
    monkeypatch.setenv("KREGISTRY_NO_SHIPPED", "1")
    assert begun(store) is None
    monkeypatch.delenv("KREGISTRY_NO_SHIPPED")
    seen = Glance(frozenset(["no_such_type"]), tiny_manifest.target)
    assert begun(store) is None
    assert not store.directory.exists()
