"""Parse the headers of a family once, so that its jobs can share front ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from attrs import frozen

from kregistry.compile.build_record import BuildRecord
from kregistry.compile.build_report import ParsedHeaders
from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.groups import Group, ToParse
from kregistry.compile.shared.header_pool import HeaderPool
from kregistry.compile.stages.check import CheckResults
from kregistry.compile.stages.claim import Claim
from kregistry.compile.stages.waiting import Waiting


@frozen(eq=False)
class ParseHeaders:
    """Fills the pool of parsed headers.

    Args:
        run: runs the front end of a group: the next stage.
    """

    _claim: Claim
    _check: CheckResults
    _waiting: Waiting
    _pool: HeaderPool
    _run: Callable[[Group], None]
    _record: BuildRecord

    def parse(self, task: ToParse) -> None:
        """Parse the headers of a family, or let nvcc compile its kernels one by one.

        nvcc compiles the sample of the family at the same time. If another builder has claimed that kernel, there will
        be another sample.
        """
        first = task.first
        ours = first is not None and self._claim.take(first, again=partial(self._waiting.add, first))
        is_sample = first is not None and ours and bool(self._check.choose_samples([first]))
        started = time.perf_counter()
        try:
            with self._record.task("parse", task.name):
                self._pool.parse(task.family)
        except CannotShare as error:
            waiting = self._waiting.give_up(task.family, str(error))
            self._check.not_shared([*waiting, first] if first is not None and ours else waiting, str(error))
            return
        self._record.headers_parsed(ParsedHeaders(str(task.family), time.perf_counter() - started))
        if first is not None and is_sample:  # the sooner it is compared, the sooner the others are published
            self._waiting.divided(task.family, 1)  # others may not take the room of the headers before its turn
            try:
                self._waiting.headers_parsed(task.family, self._pool)
                self._run(Group(task.family, (first,)))
            finally:
                self._waiting.divided(task.family, -1)
            return
        self._waiting.headers_parsed(task.family, self._pool)
        if first is not None and ours:
            self._waiting.add(first)
