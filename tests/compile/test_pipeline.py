"""The pipeline: what is missing is compiled, what fails does not stop the rest, errors come out where one waits."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from families import family_kernel
from small_kernels import BROKEN, small_kernel

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.costs import Costs
from kregistry.compile.pipeline import Pipeline
from kregistry.compile.stages import claim
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import StorageError
from kregistry.event_bus import EventBus
from kregistry.events import FailedKernel
from kregistry.hookspecs import hookimpl
from kregistry.kernel import Kernel
from kregistry.scratch import make_scratch
from kregistry.store import Store
from kregistry.store.claims import Claims
from kregistry.store.failures import BrokenKernels
from kregistry.toolchain import Toolchain


@pytest.fixture
def jit(tmp_path: Path) -> JitCache:
    return JitCache(tmp_path / "jit")


def pipeline(store: Store, jit: JitCache, nvcc: Path, jobs: int = 2) -> Pipeline:
    return Pipeline(EventBus(), store, jit, nvcc, jobs)


def build(made: Pipeline, *kernels: Kernel) -> BuildRecord:
    with made:
        for kernel in kernels:
            made.add(kernel)
        made.finish()
    return made.record


@pytest.fixture
def copying(tmp_path: Path, cubin: bytes) -> Path:
    """A compiler that writes down what it was given, in order, and gives a real cubin."""
    (tmp_path / "real.cubin").write_bytes(cubin)
    path = tmp_path / "copying-nvcc"
    lines = ["#!/bin/sh", f'cat "$1" >> {tmp_path}/compiled', 'while [ "$1" != -o ]; do shift; done']
    path.write_text("\n".join([*lines, f'cp {tmp_path}/real.cubin "$2"\n']))
    path.chmod(0o755)
    return path


def test_what_fails_does_not_stop_the_rest(toolchain: Toolchain, store: Store, jit: JitCache) -> None:
    good, broken, other = small_kernel("good"), small_kernel("broken", BROKEN), small_kernel("other")
    made = build(pipeline(store, jit, toolchain.cuda.nvcc), good, broken, other)
    assert {each.kernel.name for each in made.compiled} == {"good", "other"}
    (failed,) = made.failed
    assert failed.kernel is broken
    assert 'identifier "undeclared_name" is undefined' in failed.output
    assert "kernel.cu -cubin -arch=sm_90a -o" in failed.command
    for kernel in (good, other):
        stored = store.get(kernel.key)
        assert stored is not None and jit.fault(kernel, stored) is None
    assert not failed.known
    assert store.get(broken.key) is None
    assert not jit.entry(broken).exists()
    assert (made.found, made.filled) == (0, 2)
    assert list((store.directory / "claims").iterdir()) == []
    assert list((store.directory / "tmp").iterdir()) == []


def test_a_verdict_is_not_asked_for_again(toolchain: Toolchain, store: Store, jit: JitCache, copying: Path) -> None:
    """Also where another builder has just found it; a cubin in the store counts for more."""
    broken = small_kernel("broken", BROKEN)
    build(pipeline(store, jit, toolchain.cuda.nvcc), broken)
    (failed,) = build(pipeline(store, jit, Path("/no/nvcc")), broken).failed
    assert failed.known
    assert 'identifier "undeclared_name" is undefined' in failed.output
    shutil.rmtree(store.directory / "broken")
    build(pipeline(store, jit, copying), broken)
    BrokenKernels(store.directory).put(failed)
    again = build(pipeline(store, jit, Path("/no/nvcc")), broken)
    assert (again.failed, again.found) == ([], 1)


def test_what_another_builder_finds_broken_is_not_waited_for(store: Store, jit: JitCache, copying: Path) -> None:
    kernel = small_kernel("a")
    made = pipeline(store, jit, copying)
    with made, Claims(store.directory / "claims") as other:
        assert other.acquire(kernel.key)
        made.add(kernel)
        BrokenKernels(store.directory).put(FailedKernel(kernel, "nvcc", "a.cu(1): error: odd"))
        made.finish()
    record = made.record
    assert (record.compiled, [each.known for each in record.failed]) == ([], [True])


def test_what_the_store_has_is_not_compiled(store: Store, jit: JitCache, copying: Path, tmp_path: Path) -> None:
    kernels = [small_kernel("a"), small_kernel("b")]
    assert len(build(pipeline(store, jit, copying), *kernels).compiled) == 2
    again = build(pipeline(store, jit, Path("/no/nvcc")), *kernels)
    assert (again.compiled, again.found, again.filled) == ([], 2, 0)
    elsewhere = build(pipeline(store, JitCache(tmp_path / "other-jit"), Path("/no/nvcc")), *kernels)
    assert (elsewhere.found, elsewhere.filled) == (2, 2)


def test_a_damaged_kernel_is_compiled_again(store: Store, jit: JitCache, copying: Path) -> None:
    kernel = small_kernel("a")
    build(pipeline(store, jit, copying), kernel)
    path = store.entry(kernel.key) / "kernel.cubin"
    path.unlink()
    path.write_bytes(b"damaged")
    again = build(pipeline(store, jit, copying), kernel)
    assert [each.kernel for each in again.compiled] == [kernel]
    stored = store.get(kernel.key)
    assert stored is not None and jit.fault(kernel, stored) is None


def test_the_longest_starts_first(store: Store, jit: JitCache, copying: Path, tmp_path: Path) -> None:
    atoms = {"short": [1.0, 0.0, 0.0], "long": [4.0, 4.0, 1.0], "middle": [2.0, 2.0, 1.0]}
    store.directory.joinpath("costs.json").write_text(json.dumps(atoms))
    made = pipeline(store, jit, copying, jobs=1)
    kernels = [small_kernel(name, f"// {name}\n") for name in atoms]

    def start() -> None:
        made.__enter__()
        for kernel in kernels:
            made.add(kernel)

    made._schedule.change(start)  # the worker starts when all have been added
    made.finish()
    made.__exit__(None)
    assert (tmp_path / "compiled").read_text().split() == ["//", "long", "//", "middle", "//", "short"]


def test_a_build_teaches_the_next_one_its_seconds(store: Store, jit: JitCache, copying: Path) -> None:
    made = build(pipeline(store, jit, copying), small_kernel("a"))
    assert Costs(store.directory).estimate("a") == pytest.approx(made.compiled[0].seconds, abs=0.002)


def test_a_kernel_that_another_builder_compiles_is_waited_for(
    store: Store, jit: JitCache, copying: Path, cubin: bytes
) -> None:
    """The other one publishes while we wait; nothing is compiled twice."""
    kernel = small_kernel("a")
    made = pipeline(store, jit, copying)
    with made, Claims(store.directory / "claims") as other:
        assert other.acquire(kernel.key)
        made.add(kernel)
        store.put(kernel, cubin, "nvcc", 1.0)
        made.finish()
    assert (made.record.compiled, made.record.found) == ([], 1)


def without_dry_run(directory: Path, copying: Path) -> Path:
    """A compiler that cannot parse headers for several kernels."""
    nvcc = directory / "nvcc"
    answers = ['--version) echo "release 13.0, V13.0.88" ;;', "*--dryrun) exit 3 ;;", f'*) exec {copying} "$@" ;;']
    nvcc.write_text("\n".join(["#!/bin/sh", 'case "$*" in', *answers, "esac\n"]))
    nvcc.chmod(0o755)
    return nvcc


def test_headers_that_were_guessed_wrongly_disturb_nothing(
    store: Store, jit: JitCache, copying: Path, tmp_path: Path
) -> None:
    made = pipeline(store, jit, without_dry_run(tmp_path, copying))
    needed = small_kernel("needed")
    with made:
        made.expect([family_kernel(tmp_path, 8)])
        made.add(needed)
        made.finish()
    assert ([each.kernel for each in made.record.compiled], made.record.failed) == ([needed], [])
    assert "parse" in {task.stage for task in made.record.tasks}
    assert [each.kernel for each in made.record.sharing().not_shared] == [needed]


def test_kernels_whose_headers_cannot_be_parsed_are_claimed_too(
    store: Store, jit: JitCache, copying: Path, tmp_path: Path, cubin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nvcc compiles them one by one, and leaves those of another builder to that."""
    monkeypatch.setattr(claim, "_RETRY_SECONDS", 0.01)
    nvcc = without_dry_run(tmp_path, copying)
    ours, theirs = (family_kernel(tmp_path, n) for n in (8, 16))

    class OtherBuilder:
        @hookimpl
        def kregistry_kernel_compiled(self) -> None:
            store.put(theirs, cubin, "nvcc", 1.0)
            other.release(theirs.key)

    events = EventBus()
    events.listen(OtherBuilder())
    made = Pipeline(events, store, jit, nvcc, jobs=2)
    with made, Claims(store.directory / "claims") as other:
        assert other.acquire(theirs.key)
        made.add(ours)
        made.add(theirs)
        made.finish()
    record = made.record
    assert ([each.kernel for each in record.compiled], record.found) == ([ours], 1)
    reason = "the shared front end failed: exit code 3"
    assert sorted((each.kernel.key, each.reason) for each in record.sharing().not_shared) == sorted(
        (kernel.key, reason) for kernel in (ours, theirs)
    )


def full_disk(*_: object) -> Iterator[None]:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_ends_the_build_with_its_name(
    store: Store, jit: JitCache, copying: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError) as caught:
        build(pipeline(store, jit, copying), small_kernel("a"), small_kernel("b"))
    assert caught.value.text == "No space left on device"
    assert list((store.directory / "tmp").iterdir()) == []
    assert list((store.directory / "claims").iterdir()) == []


def test_a_jit_cache_that_cannot_be_written_ends_the_build(store: Store, copying: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        build(pipeline(store, JitCache(tmp_path / "file" / "jit"), copying), small_kernel("a"))
    assert store.get(small_kernel("a").key) is not None


def test_leaving_early_stops_the_compilers_and_keeps_what_was_published(
    store: Store, jit: JitCache, tmp_path: Path, cubin: bytes
) -> None:
    slow = tmp_path / "slow-nvcc"
    slow.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nsleep 600\n")
    slow.chmod(0o755)
    done, running = small_kernel("done"), small_kernel("running")
    store.put(done, cubin, "nvcc", 1.0)
    with pytest.raises(KeyboardInterrupt), pipeline(store, jit, slow) as made:
        made.add(done)
        made.add(running)
        while not (tmp_path / "started").exists():
            threading.Event().wait(0.01)
        raise KeyboardInterrupt
    assert store.get(done.key) is not None and store.get(running.key) is None
    assert list((store.directory / "claims").iterdir()) == []
    assert list((store.directory / "tmp").iterdir()) == []


def set_once(event: threading.Event, condition: Callable[[], object]) -> None:
    wait_until(condition)
    event.set()


def wait_until(condition: Callable[[], object]) -> None:
    while not condition():
        threading.Event().wait(0.01)


def test_an_early_kernel_that_nobody_asks_for_is_dropped(store: Store, jit: JitCache, copying: Path) -> None:
    """The plan is complete before its turn has come. What the plan confirms is compiled, and fills the JIT cache."""
    kernels = [small_kernel(f"early{number}") for number in range(3)]
    with pipeline(store, jit, copying, jobs=1) as made:
        held = threading.Event()
        made._schedule.put(1e9, held.wait)
        made._schedule.open()
        made.add_early(kernels)
        made.add(kernels[1])
        threading.Thread(target=set_once, args=[held, lambda: made._unneeded], daemon=True).start()
        made.finish()
    assert [each.kernel.name for each in made.record.compiled] == ["early1"]
    assert made.record.filled == 1
    assert [store.get(each.key) is not None for each in kernels] == [False, True, False]


@pytest.mark.parametrize("confirmed", ["before it is compiled", "afterwards"])
def test_an_early_kernel_is_in_the_jit_cache_before_the_build_ends(
    store: Store, jit: JitCache, copying: Path, confirmed: str
) -> None:
    """As soon as it is both confirmed and ready: the files of many kernels take a second at the end of a build."""
    planned = small_kernel("early")
    early = evolve(planned, cache_entry=Path(), files={})
    with pipeline(store, jit, copying, jobs=1) as made:
        if confirmed == "afterwards":
            made.add_early([early])
            wait_until(lambda: made.record.compiled)
            assert not jit.entry(planned).exists()
            made.add(planned)
        else:
            held = threading.Event()
            made._schedule.put(1e9, held.wait)
            made._schedule.open()
            made.add_early([early])
            made.add(planned)
            held.set()
            wait_until(lambda: made.record.compiled)
        stored = store.get(planned.key)
        assert stored is not None and jit.fault(planned, stored) is None
        made.finish()
    assert (len(made.record.compiled), made.record.filled) == (1, 1)


def test_a_build_with_nothing_to_do_removes_what_a_killed_one_has_left(
    store: Store, jit: JitCache, copying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, hold = make_scratch("stub")
    os.close(hold)  # as the end of its process does
    build(pipeline(store, jit, copying))
    assert not left.exists()
