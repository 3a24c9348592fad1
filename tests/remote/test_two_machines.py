"""Machine A builds and fills a remote, machine B starts from it; whatever the remote does, B builds the right kernels.

The remote is a real S3-style server (moto) or a plain HTTP server behind a proxy that spoils answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from command_line import Result
from compilers import copying_toolkit, refusing_toolkit
from fault_proxy import FAULTS, FaultProxy, fault_proxy
from object_server import object_server
from s3_server import CREDENTIALS, Server

from kregistry.compile import BuildReport
from kregistry.kernel import Kernel
from kregistry.plan.lock import write_lock
from kregistry.store import Store
from kregistry.toolchain import Toolchain

pytestmark = [pytest.mark.services, pytest.mark.stub, pytest.mark.nvcc]
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def s3() -> Iterator[Server]:
    running = Server()
    running.bucket("team")
    yield running
    running.stop()


@pytest.fixture(params=["s3", "http"])
def remote(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FaultProxy, str]]:
    """A proxy, and the URL of an empty remote behind it."""
    prefix = f"k{abs(hash(request.node.name))}"
    if request.param == "http":
        with object_server() as server, fault_proxy(urlsplit(server.url).port or 0) as proxy:
            yield proxy, f"{proxy.url}/{prefix}?unsigned"
        return
    with fault_proxy(request.getfixturevalue("s3").port) as proxy:
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": proxy.url}.items():
            monkeypatch.setenv(name, value)
        yield proxy, f"s3://team/{prefix}?unsigned"


@pytest.fixture
def lock(tiny_build: BuildReport, toolchain: Toolchain, tmp_path: Path) -> Path:
    path = tmp_path / "kernels.lock"
    write_lock(tiny_build.plan, path, toolchain.cuda.compiler)
    return path


@pytest.fixture
def copies(toolchain: Toolchain, cubin: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's compiler is quick, and makes the right kernel."""
    monkeypatch.setenv("CUDA_HOME", str(copying_toolkit(tmp_path / "cuda", toolchain, cubin)))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Waits less long for an answer if it will be slow; a machine with other work may take a second for any."""

    def impatient(fault: str) -> None:
        monkeypatch.setattr("kregistry.remote.object_tier._TIMEOUT", timedelta(seconds=1 if fault == "slow" else 10))

    return impatient


def build(kregistry: Run, lock: Path, store: Path, url: str, *options: str) -> Result:
    return kregistry("build", "--lock", lock, "--store", store, "--remote", url, "--json", *options)


def test_what_machine_a_builds_machine_b_starts_with_and_compiles_nothing(
    kregistry: Run,
    lock: Path,
    remote: tuple[FaultProxy, str],
    copies: None,
    toolchain: Toolchain,
    kernel: Kernel,
    cubin: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, url = remote
    first = build(kregistry, lock, tmp_path / "a", url).json
    assert (len(first["compiled"]), first["remote"][0]["written"]) == (1, 1)
    monkeypatch.setenv("CUDA_HOME", str(refusing_toolkit(tmp_path / "refusing", toolchain)))
    second = build(kregistry, lock, tmp_path / "b", url)
    assert (second.code, second.json["compiled"], second.json["ready"]) == (0, [], 1)
    # And without any compiler, or CUDA at all.
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "nothing"))
    pulled = kregistry("pull", url, "--lock", lock, "--store", tmp_path / "c")
    assert (pulled.code, pulled.out) == (0, f"1 of 1 kernels are in {tmp_path / 'c'}\n")
    for name in "abc":
        stored = Store(tmp_path / name).get(kernel.key)  # checks digest, key and content
        assert stored is not None and stored.cubin.read_bytes() == cubin


@pytest.mark.parametrize("fault", FAULTS)
def test_a_remote_with_a_fault_harms_no_build(
    kregistry: Run,
    lock: Path,
    remote: tuple[FaultProxy, str],
    copies: None,
    session_store: Store,
    kernel: Kernel,
    cubin: bytes,
    tmp_path: Path,
    impatient: Callable[[str], None],
    fault: str,
) -> None:
    proxy, url = remote
    assert kregistry("push", url, "--lock", lock, "--store", session_store.directory).code == 0
    proxy.fault = fault
    impatient(fault)
    result = build(kregistry, lock, tmp_path / "b", url)
    (use,) = result.json["remote"]
    assert (result.code, len(result.json["compiled"]), use["hits"]) == (0, 1, 0), result.err
    assert use["errors"] + use["wrong"] >= 1
    assert "a-secret-key" not in result.out + result.err
    stored = Store(tmp_path / "b").get(kernel.key)
    assert stored is not None and stored.cubin.read_bytes() == cubin
    proxy.fault = ""
    impatient("")
    again = build(kregistry, lock, tmp_path / "c", url).json
    assert (again["compiled"], again["remote"][0]["hits"]) == ([], 1)


def test_a_server_that_is_killed_harms_no_build(
    kregistry: Run,
    lock: Path,
    remote: tuple[FaultProxy, str],
    copies: None,
    session_store: Store,
    kernel: Kernel,
    cubin: bytes,
    tmp_path: Path,
) -> None:
    proxy, url = remote
    assert kregistry("push", url, "--lock", lock, "--store", session_store.directory).code == 0
    proxy.shutdown()
    proxy.server_close()
    result = build(kregistry, lock, tmp_path / "b", url)
    (use,) = result.json["remote"]
    assert (result.code, len(result.json["compiled"]), use["hits"], use["errors"] >= 1) == (0, 1, 0, True)
    stored = Store(tmp_path / "b").get(kernel.key)
    assert stored is not None and stored.cubin.read_bytes() == cubin


@pytest.mark.parametrize("fault", ["403", "slow", "reset"])
def test_a_fault_of_a_required_remote_is_an_error(
    kregistry: Run,
    lock: Path,
    remote: tuple[FaultProxy, str],
    copies: None,
    tmp_path: Path,
    impatient: Callable[[str], None],
    fault: str,
) -> None:
    proxy, url = remote
    proxy.fault = fault
    impatient(fault)
    result = build(kregistry, lock, tmp_path / "b", url, "--require-remote")
    assert (result.code, f"remote {url.partition('?')[0]}: " in result.err) == (4, True)
    assert "a-secret-key" not in result.err


def test_two_builders_race_and_the_remote_holds_one_object(
    lock: Path,
    remote: tuple[FaultProxy, str],
    copies: None,
    tmp_path: Path,
) -> None:
    """Each with a store of its own, as two machines."""
    from kregistry.compile.build_lock import build_lock
    from kregistry.registry import Registry
    from kregistry.remote.chain import Chain
    from kregistry.remote.location import Location

    proxy, url = remote

    def one(name: str) -> BuildReport:
        chain = Chain.open(Location.parse_all(url))
        return build_lock(lock, Registry(load_entry_points=False).events, store=Store(tmp_path / name), remote=chain)

    with ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(one, ("a", "b")))
    assert [each.ready for each in reports] == [1, 1]
    assert [each.remote[0].errors for each in reports] == [0, 0]
    assert len({path for method, path in proxy.requests if method == "PUT"}) == 1
    assert json.loads(json.dumps(reports[0].to_json()))["remote"][0]["wrong"] == 0
