"""Compilers without processes, in place of all those of a pipeline: a seed decides what they make of each kernel."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from families import source_of
from small_kernels import small_kernel

from kregistry.compile import pipeline, schedule
from kregistry.compile.nvcc import Compilation
from kregistry.compile.schedule import Schedule
from kregistry.compile.shared import groups, header_pool
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.front_end import FrontEndResult, Piece
from kregistry.compile.shared.header_pool import HeaderPool
from kregistry.compile.shared.kernel_family import KernelFamily, Member
from kregistry.compile.shared.self_check_results import KnownResult, Source
from kregistry.compile.stages import assemble, claim, run_front_end
from kregistry.errors import StorageError
from kregistry.kernel import CompilerCommand, Kernel
from kregistry.store.cubin import sections_of

_FAILURE = "kernel.cu(3): error: too large"


@define
class Fate:
    """What compilers make of a kernel.

    Attributes:
        alone: nvcc alone compiles it.
        poisons: a front end with it fails.
        refused: it gets no PTX of its own.
        assembles: its PTX assembles.
    """

    alone: bool = True
    poisons: bool = False
    refused: bool = False
    assembles: bool = True


@define
class FamilyFate:
    """What is true of a family.

    Attributes:
        parses: how often its headers are parsed before it fails.
        differs: a shared front end makes another kernel than nvcc alone.
        known: what an earlier build has found, if there was one.
    """

    parses: int
    differs: bool
    known: KnownResult | None


class World:
    """What a seed decides.

    Args:
        cubin: what nvcc makes of each kernel.

    Attributes:
        chance: for whatever else the seed decides. What the order of threads decides is not repeated with the seed.
        kernels, fates: by key.
    """

    def __init__(self, seed: int, cubin: bytes) -> None:
        self.chance = chance = random.Random(seed)
        self.cubin, self.other_cubin = cubin, _other(cubin)
        self.pace = chance.choice([0.0, 0.0005, 0.003])
        self.families = [f"family{number}" for number in range(chance.choice([1, 2, 4, 8]))]
        odds, most = chance.choice([0.0, 0.1, 0.5, 1.0]), 20 // len(self.families)
        self.kernels: dict[str, Kernel] = {}
        self.fates: dict[str, Fate] = {}
        self.family_fates: dict[str, FamilyFate] = {}
        for name in self.families:
            differs = chance.random() < odds / 2
            known = KnownResult("x" if differs else "", Source.STORE) if chance.random() < 0.2 else None
            parses = 0 if chance.random() < odds / 2 else chance.choice([1, 99, 99])
            self.family_fates[name] = FamilyFate(parses, differs, known)
            for n in range(chance.randint(1, most)):
                self._add(_kernel(name, n), odds)
        for number in range(chance.randint(0, 3)):
            self._add(small_kernel(f"other{number}", f"// {number}\n"), odds)
        self._threads = random.Random()
        #: How many compilers run until the disk is full; ``None``: it never is.
        self.room = chance.randint(0, 20) if chance.random() < 0.1 else None

    def _add(self, kernel: Kernel, odds: float) -> None:
        chance = self.chance
        self.kernels[kernel.key] = kernel
        self.fates[kernel.key] = Fate(
            alone=chance.random() >= odds / 2,
            poisons=chance.random() < odds / 3,
            refused=chance.random() < odds / 3,
            assembles=chance.random() >= odds / 3,
        )

    def pause(self) -> None:
        """Let other threads go on, now and then for so long that they do all that there is."""
        luck = self._threads.random()
        time.sleep(0.05 if luck < 0.01 else luck * self.pace if luck < 0.7 else 0.0)

    def write(self) -> None:
        """What a compiler does in the end.

        Raises:
            StorageError: the disk is full.
        """
        self.pause()
        if self.room is not None:
            self.room -= 1
            if self.room < 0:
                raise StorageError("the store", "No space left on device")

    def some(self, share: float) -> list[Kernel]:
        """Each kernel with this probability."""
        return [each for each in self.kernels.values() if self.chance.random() < share]

    def shared_cubin(self, key: str) -> bytes:
        """What a shared front end makes of a kernel."""
        return self.other_cubin if self.family_fates[self.kernels[key].name].differs else self.cubin

    def result(self, key: str) -> Compilation:
        """What nvcc alone makes of a kernel."""
        if self.fates[key].alone:
            return Compilation(self.cubin, 0.001, "nvcc")
        return Compilation(b"", 0.001, "nvcc", _FAILURE)


class _Nvcc:
    """In place of :class:`kregistry.compile.nvcc.Nvcc`."""

    def __init__(self, world: World) -> None:
        self.world, self.stopped = world, False

    def compile(self, kernel: Kernel, scratch: Path) -> Compilation:
        self.world.write()
        return Compilation(b"", 0.0, "nvcc", "killed") if self.stopped else self.world.result(kernel.key)

    def wait_for_first(self, seconds: float) -> None:
        self.world.pause()

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        pass


class _Headers:
    def __init__(self, world: World, family: KernelFamily) -> None:
        self.world, self.family, self.closed = world, family, False

    def hang_up(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True


class _Results:
    """What is known of families, without a store."""

    def __init__(self, world: World) -> None:
        self.world = world

    def recall(self, family: KernelFamily) -> KnownResult | None:
        return self.world.family_fates[_name(family)].known

    def remember(self, family: KernelFamily, kernel: Kernel, difference: str) -> None:
        self.world.pause()


@contextmanager
def compilers(world: World) -> Iterator[None]:
    """Replace all that starts a process, and shorten each wait."""

    class Jittery(Schedule):
        def change(self, change: Callable[[], Any]) -> Any:
            world.pause()
            result = super().change(change)
            world.pause()
            return result

    class Pool(HeaderPool):
        @contextmanager
        def use(self, family: KernelFamily) -> Iterator[Any]:
            world.pause()
            with super().use(family) as headers:
                yield headers

    def parse(nvcc: _Nvcc, family: KernelFamily, scratch: Path) -> Any:
        world.write()
        fate = world.family_fates[_name(family)]
        fate.parses -= 1  # nobody else parses them now
        if nvcc.stopped or fate.parses < 0:
            raise CannotShare("the headers cannot be parsed")
        return _Headers(world, family)

    def generate(headers: _Headers, members: Sequence[Member], scratch: Path) -> FrontEndResult:
        assert not headers.closed
        world.write()
        fates = {each.kernel.key: world.fates[each.kernel.key] for each in members}
        if any(each.poisons for each in fates.values()):
            raise CannotShare("the shared front end failed")
        commands: Any = None
        pieces = {key: Piece("x", key, 0.001, commands) for key, each in fates.items() if not each.refused}
        return FrontEndResult(pieces, {key: "refused" for key, each in fates.items() if each.refused}, 0.001)

    def assembled(nvcc: _Nvcc, piece: Piece, scratch: Path) -> Compilation:
        world.write()
        if nvcc.stopped or not world.fates[piece.symbol].assembles:
            return Compilation(b"", 0.001, "ptxas", "it does not assemble")
        return Compilation(world.shared_cubin(piece.symbol), 0.001, "ptxas")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "_GATHER_SECONDS", 0.002)
        patch.setattr(schedule, "_SIGNAL_SECONDS", 0.005)
        patch.setattr(claim, "_RETRY_SECONDS", 0.003)
        patch.setattr(groups, "_PATIENCE_SECONDS", 0.01)
        patch.setattr(pipeline, "Schedule", Jittery)
        patch.setattr(pipeline, "HeaderPool", Pool)
        patch.setattr(pipeline, "Nvcc", lambda path: _Nvcc(world))
        patch.setattr(pipeline, "SelfCheckResults", lambda *_: _Results(world))
        patch.setattr(header_pool, "parse_headers", parse)
        patch.setattr(run_front_end, "run_front_end", generate)
        patch.setattr(assemble, "assemble", assembled)
        yield


def _name(family: KernelFamily) -> str:
    return str(family).removesuffix(".cuh")


def _kernel(family: str, n: int) -> Kernel:
    source = source_of(f"&gemm<\n        {n}\n    >", f"{family}.cuh")
    key = hashlib.sha256(source.encode()).hexdigest()
    entry = Path(f".deep_gemm/cache/kernel.{family}.{key[:8]}")
    command = CompilerCommand(("-cubin", "-arch=sm_90a", "-O3", "-std=c++17"), ())
    return Kernel(family, key, source, command, entry, "kernel.cubin", {"kernel.cu": source.encode()})


def _other(cubin: bytes) -> bytes:
    """A cubin with other machine code."""
    text = next(each.content for each in sections_of(cubin) if each.name.startswith(".text."))
    place = cubin.index(text)
    return cubin[:place] + bytes([cubin[place] ^ 1]) + cubin[place + 1 :]
