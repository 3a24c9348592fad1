"""What all parts use: a small plan, a compiler that answers at once, forked builds, and a look at what is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field, frozen

from kregistry.compile.pipeline import Pipeline
from kregistry.compile.shared.sharing_options import SharingOptions
from kregistry.deep_gemm.jit_cache import JitCache
from kregistry.errors import KregistryError
from kregistry.event_bus import EventBus
from kregistry.kernel import Kernel
from kregistry.store import Store
from kregistry.store.store import DamagedEntry

#: Six kernels of two families.
MANIFEST = """\
version: 1
target: h100
models:
  small:
    kernels:
      - {type: tf32_hc_prenorm_gemm, shape: {n: 24, k: 1024, num_splits: [1, 2, 3, 4]}, m: {stop: 4}}
      - {type: fp8_gemm_nt, shape: {n: 64, k: 512}, m: {stop: 16}}
"""
#: A mark that all processes of this campaign carry, by which those that are left are found.
RUN = "KREGISTRY_FAULTS_RUN"
_FAST = """#!/bin/sh
case " $* " in *" --version "*) exec {nvcc} --version ;; *" --dryrun "*) exit 1 ;; esac
head -c 600 "$1" | cksum >>"{log}"
sleep 0.0$(($$ % 5))
while [ "$1" != -o ]; do shift; done
exec cp {cubin} "$2"
"""


@define
class Tally:
    """What one part has done, and what went wrong."""

    part: str
    counts: Counter[str] = field(factory=Counter)
    faults: list[str] = field(factory=list)
    seconds: float = 0.0
    longest: dict[str, float] = field(factory=dict)

    def fault(self, text: str) -> None:
        self.faults.append(text)

    def took(self, what: str, seconds: float) -> None:
        self.longest[what] = max(self.longest.get(what, 0.0), round(seconds, 2))


@frozen
class Campaign:
    """The material of all parts."""

    directory: Path
    seed: int
    kernels: tuple[Kernel, ...]
    manifest: Path
    toolkit: Path
    nvcc: Path

    def chance(self, part: str) -> random.Random:
        return random.Random(f"{self.seed}/{part}")

    def place(self, name: str) -> Path:
        path = self.directory / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path

    @property
    def fast(self) -> Path:
        return self.toolkit / "bin" / "nvcc"

    @property
    def log(self) -> Path:
        return self.toolkit / "log"

    def environment(self, temporary: Path) -> dict[str, str]:
        """For a command line with the fast compiler."""
        return {
            **os.environ,
            "CUDA_HOME": str(self.toolkit),
            "KREGISTRY_NO_SHARED_FRONT_END": "1",
            "TMPDIR": str(temporary),
        }

    def build(self, store: Path, cache: Path, nvcc: Path, shared: bool = False, jobs: int = 2) -> int:
        """Build all kernels; the exit code that a command would have."""
        try:
            options = SharingOptions(shared=shared)
            with Pipeline(EventBus(), Store(store), JitCache(cache), nvcc, jobs, options) as pipeline:
                for kernel in self.kernels:
                    pipeline.add(kernel)
                pipeline.finish()
            return 5 if pipeline.record.failed else 0
        except KregistryError as error:
            return error.exit_code

    def damages(self, store: Path, cache: Path) -> list[str]:
        """What is neither intact nor missing."""
        found: list[str] = []
        for kernel in self.kernels:
            try:
                stored = Store(store).get(kernel.key)
            except DamagedEntry as error:
                found.append(f"store {kernel.id}: {error}")
                continue
            fault = JitCache(cache).fault(kernel, stored) if stored else None
            if fault and "missing" not in fault:
                found.append(f"JIT cache {kernel.id}: {fault}")
        return found

    def missing(self, store: Path, cache: Path) -> int:
        """Kernels that are not ready."""
        ready = 0
        for kernel in self.kernels:
            try:
                stored = Store(store).get(kernel.key)
            except DamagedEntry:
                continue
            ready += stored is not None and JitCache(cache).fault(kernel, stored) is None
        return len(self.kernels) - ready


@contextmanager
def campaign(directory: Path, seed: int) -> Iterator[Campaign]:
    """Plan the manifest and compile one kernel, whose cubin the fast compiler copies."""
    from kregistry.manifest import load_manifest
    from kregistry.plan.planner import make_plan
    from kregistry.registry import Registry
    from kregistry.toolchain import find_toolchain

    os.environ[RUN] = uuid.uuid4().hex
    os.environ["XDG_CACHE_HOME"] = str(directory / "xdg")
    manifest = directory / "kernels.yaml"
    manifest.write_text(MANIFEST)
    toolchain, registry = find_toolchain(), Registry()
    plan = make_plan(load_manifest(manifest, registry), registry, toolchain=toolchain)
    kernels = tuple(plan.kernels.values())
    toolkit = directory / "toolkit"
    (toolkit / "bin").mkdir(parents=True)
    (toolkit / "include").symlink_to(toolchain.cuda.include)
    small = toolkit / "small.cu"
    small.write_text('extern "C" __global__ void good(int *p) { *p = 3; }\n')
    cubin = toolkit / "copied.cubin"
    subprocess.run([toolchain.cuda.nvcc, small, "-cubin", "-arch=sm_90a", "-o", cubin], check=True)
    fast = toolkit / "bin" / "nvcc"
    fast.write_text(_FAST.format(nvcc=toolchain.cuda.nvcc, cubin=cubin, log=toolkit / "log"))
    fast.chmod(0o755)
    yield Campaign(directory, seed, kernels, manifest, toolkit, toolchain.cuda.nvcc)


def forked(work: Callable[[], int]) -> int:
    """Run work in a fork, and return its process id. Its exit code is what the work returns; 70 after an exception."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            code = work()
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def forked_command(
    campaign: Campaign,
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    kill_after: float | None = None,
    limit: int = 120,
) -> tuple[int, str]:
    """A command line with the fast compiler, in a fork, which need not load Python again: exit code and messages.

    Args:
        campaign: the campaign.
        arguments: of the command line.
        environment: further variables.
        kill_after: seconds after which it is killed.
        limit: seconds after which it counts as one that hangs: the exit code is -14.
    """
    log = campaign.directory / "messages"

    def work() -> int:
        from kregistry.cli import main

        signal.alarm(limit)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.environ.update(campaign.environment(campaign.directory), **(environment or {}))
        os.environ.pop("KREGISTRY_STORE", None)
        sys.argv = ["kregistry", *map(str, arguments)]
        try:
            main()
        except SystemExit as exit:
            return exit.code if isinstance(exit.code, int) else int(exit.code is not None)
        return 0

    child = forked(work)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    code = ended(child)
    return code, log.read_text(errors="replace") if log.exists() else ""


def ended(child: int) -> int:
    """Wait for a fork; a negative code is a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def seconds_of_orphans(limit: float = 10.0, ours: frozenset[int] = frozenset()) -> float:
    """How long processes of this campaign go on after their owner has ended."""
    started = time.monotonic()
    while time.monotonic() - started < limit and orphans(ours):
        time.sleep(0.02)
    return time.monotonic() - started


def orphans(ours: frozenset[int] = frozenset()) -> list[int]:
    """Processes that carry the mark, except for this one."""
    mark = f"{RUN}={os.environ[RUN]}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in (os.getpid(), *ours):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def age(*places: Path) -> None:
    """Make what is there two hours old."""
    then = time.time() - 7200
    for place in places:
        for path in place.rglob("*") if place.exists() else ():
            os.utime(path, (then, then), follow_symlinks=False)


def leftovers(store: Path, cache: Path, temporary: Path) -> list[str]:
    """What a complete run should have removed."""
    found = [*(store / "tmp").glob("*"), *(store / "claims").glob("*"), *cache.glob("tmp/kregistry.*")]
    found += [*store.glob(".*.*"), *temporary.glob("*kregistry-*")]
    return [str(path.relative_to(path.parents[1])) for path in found]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "kregistry", *map(str, arguments)]


Part = Callable[[Campaign, Mapping[str, int], Tally], None]
