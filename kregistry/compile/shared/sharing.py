"""Sharing: from kernels that wait for a front end to cubins that are used, or to kernels that nvcc compiles alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from attrs import evolve

from kregistry.compile.build_report import (
    ComparedKernel,
    FrontEndRun,
    NotShared,
    ParsedHeaders,
    SharingReport,
)
from kregistry.compile.costs import Cost, front_end_seconds
from kregistry.compile.nvcc import Compilation, Compiler
from kregistry.compile.schedule import Schedule, Source, Work
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.front_end import Piece, assemble, run_front_end
from kregistry.compile.shared.groups import Group, Groups, ToParse
from kregistry.compile.shared.header_pool import HeaderPool
from kregistry.compile.shared.headers import Headers
from kregistry.compile.shared.kernel_family import Family, Member, member_of
from kregistry.compile.shared.self_check import Action, SelfCheck, Use
from kregistry.compile.shared.self_check_results import SelfCheckResults
from kregistry.compile.shared.sharing_options import FrontEndOptions
from kregistry.errors import MissingRequirement
from kregistry.event_bus import EventBus
from kregistry.events.compiled import CompiledKernel
from kregistry.kernel import Kernel
from kregistry.store.store import Store


class Host(Protocol):
    """What the builder does for the kernels of a group."""

    schedule: Schedule

    def reserve(self, kernel: Kernel, again: Work) -> bool:
        """Whether this builder is to compile the kernel; if another one is, ``again`` is called later."""

    def compile(self, kernel: Kernel) -> Compilation | None:
        """Let nvcc compile a kernel alone; ``None`` if it was cut off."""

    def started(self, kernel: Kernel) -> None:
        """A compiler starts on the kernel, perhaps not the first."""

    def settle(self, kernel: Kernel, result: Compilation) -> None:
        """This is what became of the kernel."""

    def compiling(self) -> None:
        """A compiler has just started or ended."""


class Sharing(Source):
    """The shared front ends of one build."""

    def __init__(
        self,
        host: Host,
        events: EventBus,
        store: Store,
        compiler: Compiler,
        groups: Groups,
        options: FrontEndOptions,
    ) -> None:
        self._host = host
        self._hook = events.hook
        self._store = store
        self._compiler = compiler
        self._costs = groups.costs
        self._options = options
        self._groups = groups
        self._check = SelfCheck(
            SelfCheckResults(store.directory / "front_ends", compiler.nvcc), options.paranoid, self._compared
        )
        self._headers = HeaderPool(compiler, store.scratch, groups.workers)
        self._given_up: dict[Family, str] = {}
        self._alone: set[str] = set()
        self._lock = threading.Lock()
        self._parsed: list[ParsedHeaders] = []
        self._runs: list[FrontEndRun] = []
        self._not_shared: list[NotShared] = []
        self._comparisons: list[ComparedKernel] = []

    def report(self) -> SharingReport:
        return SharingReport(tuple(self._parsed), tuple(self._runs), tuple(self._not_shared), tuple(self._comparisons))

    def learn(self, compiled: Sequence[CompiledKernel]) -> None:
        """Keep what this build measured for the estimates of others."""
        self._groups.sizes.save()
        self._costs.learn(compiled, self._runs, self._relative_size)

    def _relative_size(self, kernel: Kernel) -> float:
        try:
            return self._groups.sizes.relative(member_of(kernel))
        except CannotShare:
            return 1.0

    def close(self) -> None:
        """No front end is needed any more."""
        self._headers.close()

    # ---- kernels that wait -----------------------------------------------------------------------------------

    def offer(self, kernel: Kernel) -> bool:
        """Take a kernel whose front end may be shared; events tell why another one is not."""
        if not self._options.shared:
            return False
        try:
            member = member_of(kernel)
            reason_not_shareable = self._check.reason_not_shareable(member.family) or self._given_up.get(member.family)
        except (CannotShare, MissingRequirement) as reason:  # the latter: a compiler that does not tell its version
            self._tell(kernel, str(reason))
            return False
        if reason_not_shareable:
            self._tell(kernel, reason_not_shareable)
            return False
        self._wait(member)
        return True

    def complete(self) -> None:
        """No kernel follows any more."""
        with self._host.schedule.condition:
            self._groups.complete = True
            self._host.schedule.condition.notify_all()

    def _wait(self, member: Member) -> None:
        schedule = self._host.schedule
        with schedule.condition:
            schedule.gather()
            self._groups.add(member, time.monotonic())
            schedule.condition.notify_all()

    def take(self, now: float, other_seconds: float) -> tuple[float, Work] | None:
        task = self._groups.take(now, other_seconds)
        if task is None:
            return None
        if isinstance(task, ToParse):
            return task.seconds, partial(self._parse, task)
        return front_end_seconds(self._cost(task.members)), partial(self._run, task)

    def next_due(self) -> float | None:
        return self._groups.next_due()

    def _cost(self, members: Iterable[Member]) -> list[Cost]:
        return [self._groups.cost(member) for member in members]

    # ---- work ------------------------------------------------------------------------------------------------

    def _parse(self, task: ToParse) -> None:
        """Parse the headers of a family, or let its kernels be compiled alone."""
        # nvcc compiles the family's sample meanwhile. Another builder may be at it; then there will be another sample.
        ours = self._host.reserve(task.first.kernel, partial(self._wait, task.first))
        samples = self._check.choose([task.first]) if ours else ()
        for member in samples:
            self._put_alone(member)
        self._host.compiling()
        started = time.perf_counter()
        try:
            self._headers.parse(task.family)
        except CannotShare as error:
            with self._host.schedule.condition:
                self._given_up[task.family] = str(error)
                members = self._groups.give_up(task.family)
            self._refuse([*members, task.first] if ours else members, str(error))
            return
        finally:
            self._host.compiling()
        with self._lock:
            self._parsed.append(ParsedHeaders(str(task.family), time.perf_counter() - started))
        with self._host.schedule.condition:
            gone = self._headers.shrink(self._groups.needed())
            for family in gone:
                self._groups.not_parsed(family)
            self._groups.parsed(task.family)
            self._host.schedule.condition.notify_all()
        for headers in gone.values():
            headers.close()
        if samples:  # the sooner it is compared, the sooner all others are ready
            self._run(Group(task.family, (task.first,)))
        elif ours:
            self._wait(task.first)

    def _run(self, group: Group) -> None:
        """One front end: pieces to assemble come of it, or kernels to compile alone."""
        members = [each for each in group.members if self._host.reserve(each.kernel, partial(self._wait, each))]
        with self._headers.use(group.family) as headers:
            if headers is not None and members:
                self._generate(headers, members)
            elif len(members) == 1:
                self._put_alone(members[0])
            else:  # the headers had to make room for others meanwhile
                for member in members:
                    self._wait(member)

    def _generate(self, headers: Headers, members: Sequence[Member]) -> None:
        kernels = tuple(member.kernel for member in members)
        self._hook.kregistry_front_end_started(kernels=kernels)
        self._host.compiling()
        started = time.perf_counter()
        try:
            result = run_front_end(headers, members, self._store.scratch("front-end"))
        except CannotShare as error:
            self._divide(members, str(error))
            return
        finally:
            self._host.compiling()
            self._hook.kregistry_front_end_finished(kernels=kernels, seconds=time.perf_counter() - started)
        pieces = ((member, result.pieces.get(member.kernel.key)) for member in members)
        self._groups.sizes.learn((member, len(piece.text)) for member, piece in pieces if piece is not None)
        with self._lock:
            self._runs.append(FrontEndRun(str(members[0].family), kernels, result.seconds))
        self._put_assembly([each for each in members if each.kernel.key in result.pieces], result.pieces)
        for member in members:
            if member.kernel.key in result.refused:
                self._do(self._check.nothing_shared(member, result.refused[member.kernel.key]))

    def _divide(self, members: Sequence[Member], reason: str) -> None:
        """A front end failed: perhaps on one of these alone."""
        if len(members) == 1 or self._compiler.stopped:
            self._refuse(members, reason)
            return
        with self._host.schedule.condition:
            self._groups.divided(members[0].family, len(members))
        for member in members:
            self._host.schedule.put(front_end_seconds(self._cost([member])), partial(self._run_divided, member))

    def _run_divided(self, member: Member) -> None:
        try:
            self._run(Group(member.family, (member,)))
        finally:
            with self._host.schedule.condition:
                self._groups.divided(member.family, -1)
                self._host.schedule.condition.notify_all()

    def _refuse(self, members: Iterable[Member], reason: str) -> None:
        """No front end is shared for these, unless the build was stopped, which says nothing about them."""
        if not self._compiler.stopped:
            for member in members:
                self._do(self._check.nothing_shared(member, reason))

    def _put_assembly(self, members: Sequence[Member], pieces: Mapping[str, Piece]) -> None:
        """Assemble the kernels of one front end when their turns come."""
        for member in self._check.choose(sorted(members, key=lambda member: len(pieces[member.kernel.key].text))):
            self._put_alone(member)
        if len(members) == 1:
            self._assemble(members[0], pieces[members[0].kernel.key])
            return
        for member in members:
            work = partial(self._assemble, member, pieces[member.kernel.key])
            self._host.schedule.put(self._groups.cost(member).assemble, work)

    def _assemble(self, member: Member, piece: Piece) -> None:
        self._host.started(member.kernel)
        result = assemble(self._compiler, piece, self._store.scratch("assemble"))
        self._host.compiling()
        if self._compiler.stopped:
            return
        if result.failure:
            reason = f"the assembler failed on the split PTX: {result.failure.splitlines()[0]}"
            self._do(self._check.nothing_shared(member, reason))
        else:
            self._do(self._check.shared(member, evolve(result, front_end_seconds=piece.seconds)))

    def _put_alone(self, member: Member) -> None:
        """Compile a kernel alone when its turn comes, once."""
        with self._lock:
            if member.kernel.key in self._alone:
                return
            self._alone.add(member.kernel.key)
        self._host.schedule.put(self._groups.cost(member).alone, partial(self._compile_alone, member))

    def _compile_alone(self, member: Member) -> None:
        result = self._host.compile(member.kernel)
        if result is not None:
            self._do(self._check.alone(member, result))

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Use):
                self._host.settle(action.member.kernel, action.result)
            else:
                if action.reason:
                    self._tell(action.member.kernel, action.reason)
                self._put_alone(action.member)

    # ---- events ----------------------------------------------------------------------------------------------

    def _tell(self, kernel: Kernel, reason: str) -> None:
        with self._lock:
            self._not_shared.append(NotShared(kernel, reason))
        self._hook.kregistry_front_end_not_shared(kernel=kernel, reason=reason)

    def _compared(self, kernel: Kernel, difference: str) -> None:
        with self._lock:
            self._comparisons.append(ComparedKernel(kernel, difference))
        self._hook.kregistry_front_end_compared(kernel=kernel, difference=difference)
