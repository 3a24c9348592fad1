"""Fixtures of all tests: nothing of the user's is read or written, and what is expensive is made once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from command_line import Result, run_command_line
from distributions import install as install
from events import EventLog
from hypothesis import HealthCheck, settings
from on_stub import run_file
from once import Once
from stub_server import StubServers

from kregistry.compile import BuildReport
from kregistry.compile.plan_and_build import build_kernels
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.deep_gemm.variables import BY_NAME
from kregistry.kernel import Kernel
from kregistry.manifest import Manifest
from kregistry.manifest.document import parse_document
from kregistry.manifest.reader import read_manifest
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.stub.environment import stub_environment
from kregistry.stub.library import compile_stub
from kregistry.target import get_target
from kregistry.toolchain import Toolchain, find_toolchain
from kregistry_plugins import installed

# A worker of pytest-xdist has one core, and torch's threads burn CPU time while they wait for each other: with two
# threads a rule of the conformance kit takes four times the CPU seconds. torch reads this when it is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run, however slow the machine is; --hypothesis-profile=default draws others.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repeatable")

pytest_plugins = ["pytester", "markers", "started_processes"]

#: One entry, one kernel, the cheapest that there is.
TINY = """
version: 1
target: h100
models:
  tiny:
    kernels:
      - {type: tf32_hc_prenorm_gemm, label: hc, shape: {n: 24, k: 256}, m: {stop: 4}}
"""


#: Set by pytest itself, and by torch when a test is the first to make it load its compiler.
_NOT_OURS = ("PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_OURS}


@pytest.fixture(autouse=True)
def environment_guard() -> Iterator[None]:
    """Fail a test that leaves the environment of the process changed."""
    before = _environment()
    yield
    after = _environment()
    changed = sorted(name for name in {**before, **after} if before.get(name) != after.get(name))
    for name in changed:
        if name in before:
            os.environ[name] = before[name]
        else:
            del os.environ[name]
    assert not changed, f"the test changed the environment: {', '.join(changed)}"


@pytest.fixture(scope="session")
def stub_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the stub GPU is compiled to, once for all tests."""
    return tmp_path_factory.mktemp("stub")


#: Variables of the table that say where things are on this machine, or are set by :func:`isolation`.
_OF_THE_MACHINE = ("PATH", "CUDA_HOME", "CUDA_PATH", "HOME", "XDG_CACHE_HOME")


@pytest.fixture(scope="session")
def _users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for each test; ``mktemp`` lists all that there are before it makes the next one."""
    users = tmp_path_factory.mktemp("users")
    return (users / str(number) for number in count())


@pytest.fixture(autouse=True)
def isolation(
    environment_guard: None, _users: Iterator[Path], stub_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home, caches and a store of one's own; only the compiled stub is shared."""
    user = next(_users)
    cache = user / "cache"
    (cache / "kregistry").mkdir(parents=True)
    (cache / "kregistry" / "stub").symlink_to(stub_directory)
    (user / "home").mkdir()
    monkeypatch.setenv("HOME", str(user / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("KREGISTRY_STORE", str(user / "store"))
    monkeypatch.setenv("KREGISTRY_NO_SHIPPED", "1")  # builds find out everything by themselves
    for name in (*BY_NAME, "KREGISTRY_TARGET", "KREGISTRY_NO_SHARED_FRONT_END"):
        if name not in _OF_THE_MACHINE:
            monkeypatch.delenv(name, raising=False)
    for remembered in (installed.is_first_series, installed.is_sglangs):  # of a test that hides DeepGEMM
        remembered.cache_clear()


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    return find_toolchain()


@pytest.fixture(scope="session")
def _installed() -> Registry:
    return Registry()


@pytest.fixture
def registry() -> Registry:
    """The installed plugins."""
    return Registry()


@pytest.fixture(scope="session")
def tiny_manifest(_installed: Registry) -> Manifest:
    return read_manifest(parse_document(TINY, "tiny.yaml"), _installed)


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    path = tmp_path / "kernels.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def session_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that holds the kernel of the tiny manifest; tests that harm it copy it first."""
    return Store(tmp_path_factory.mktemp("session") / "store")


@pytest.fixture(scope="session")
def event_log() -> EventLog:
    return EventLog()


@pytest.fixture(scope="session")
def once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Once:
    """What costs more than a second is made by one worker, for all of them."""
    base = tmp_path_factory.getbasetemp()
    return Once(base.parent if hasattr(request.config, "workerinput") else base)


@pytest.fixture(scope="session")
def tiny_build(
    tiny_manifest: Manifest,
    session_store: Store,
    event_log: EventLog,
    stub_directory: Path,
    toolchain: Toolchain,
    tmp_path_factory: pytest.TempPathFactory,
    once: Once,
) -> BuildReport:
    """The tiny manifest, really planned and really compiled, once for all tests; each worker has a store of its own."""
    copied = once.directory / "session-store"

    def build() -> tuple[BuildReport, list[Any]]:
        report = _tiny_build(tiny_manifest, session_store, event_log, stub_directory, toolchain, tmp_path_factory)
        shutil.copytree(session_store.directory, copied)
        return report, event_log.calls

    report, calls = once("tiny-build", build)
    if not event_log.calls:  # it was made by another worker
        event_log.calls += calls
        shutil.copytree(copied, session_store.directory)
    return report


def _tiny_build(
    tiny_manifest: Manifest,
    session_store: Store,
    event_log: EventLog,
    stub_directory: Path,
    toolchain: Toolchain,
    tmp_path_factory: pytest.TempPathFactory,
) -> BuildReport:
    home = tmp_path_factory.mktemp("home")
    cache = home / "cache" / "kregistry"
    cache.mkdir(parents=True)
    (cache / "stub").symlink_to(stub_directory)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        monkeypatch.setenv("KREGISTRY_NO_SHIPPED", "1")
        registry = Registry()
        registry.register(event_log, "event_log")
        jit_cache = JitCache(home / "jit")
        report = build_kernels(
            tiny_manifest, registry, store=session_store, jit_cache=jit_cache, jobs=1, toolchain=toolchain
        )
        registry.events.flush()
        return report


@pytest.fixture(scope="session")
def kernel(tiny_build: BuildReport) -> Kernel:
    """A real kernel, as the dry run found it."""
    (kernel,) = tiny_build.plan.kernels.values()
    return kernel


@pytest.fixture(scope="session")
def cubin(tiny_build: BuildReport, session_store: Store, kernel: Kernel) -> bytes:
    """What nvcc made of it."""
    stored = session_store.get(kernel.key)
    assert stored is not None
    return stored.cubin.read_bytes()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store, ready for writing."""
    store = Store(tmp_path / "store")
    store.open()
    return store


@pytest.fixture
def kregistry(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs the command line in this process, as its entry point does; without lines of progress."""
    monkeypatch.setattr("kregistry.cli.progress._TICK_SECONDS", 3600.0)

    def run(*arguments: object) -> Result:
        return run_command_line(monkeypatch, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def warm_run(
    tiny_build: BuildReport,
    session_store: Store,
    stub_directory: Path,
    toolchain: Toolchain,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """A whole warm-up in a process of its own, on the stub GPU: all of it but the GPU is real."""
    home = tmp_path_factory.mktemp("warm-home")
    cache = home / "cache" / "kregistry"
    cache.mkdir(parents=True)
    (cache / "stub").symlink_to(stub_directory)
    library = compile_stub(toolchain, stub_directory)
    environment = stub_environment(get_target("h100"), toolchain, library, home)
    support = Path(__file__).parent / "support"
    paths = [str(support), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment.update(XDG_CACHE_HOME=str(home / "cache"), PYTHONPATH=os.pathsep.join(paths))
    script = Path(__file__).parent / "support" / "warm_up_on_stub.py"
    (home / "kernels.yaml").write_text(TINY)
    result = run_file(script, environment, str(home / "kernels.yaml"), str(session_store.directory))
    assert result.returncode == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return {**answer, "home": home}


@pytest.fixture(scope="session")
def servers(
    toolchain: Toolchain, stub_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StubServers]:
    """Servers on the stub as an H100 whose compiler refuses every kernel."""
    with StubServers(toolchain, compile_stub(toolchain, stub_directory), tmp_path_factory.mktemp("servers")) as servers:
        yield servers
