"""The schedule of a build, replayed with sleeping workers: where do they wait at the start and at the end?

    python benchmarks/simulate_schedule.py [--workers 16] [--way lock] [--noise 0.2] [--rounds 3] [--json FILE]

The schedule, the groups and the estimates are the real ones. Only the compilers are replaced: each of them sleeps as
long as the shipped estimates say for its kernels, times a random factor (log-normal, `--noise` is its sigma), so that
the estimates of the schedule are wrong as they are in a build. The kernels are those of `--model` that ship with the
package.

    lock     all kernels are known at once, and their families need not be compared
    plan     they become known in the course of a dry run, from 2.5 s on, in the order in which it meets them
    headers  the same, and the headers of their families are parsed before, as for kernel types that the package knows

`over` is the time from the first compiler to the last, divided by max(sum of all seconds / workers, longest kernel).
With the way `headers` it begins with the first compiler of a kernel. With the way `plan` most workers wait for headers
at first, which no order changes: `over_with_headers` has that time in the divisor.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve

from kregistry import Manifest, Registry, load_manifest
from kregistry.compile.costs import Cost, Costs, start_seconds
from kregistry.compile.schedule import Schedule
from kregistry.compile.shared.estimates import Estimates
from kregistry.compile.shared.family_job import FamilyJob
from kregistry.compile.shared.groups import Group, Groups, ToParse
from kregistry.compile.shared.header_pool import HeaderPool
from kregistry.compile.shared.headers import Headers
from kregistry.compile.shared.kernel_family import KernelFamily, member_of
from kregistry.compile.shared.sizes import KernelSizes
from kregistry.compile.shipped_kernels import shipped_kernels
from kregistry.compile.stages.group_tasks import GroupTasks
from kregistry.compile.stages.waiting import Waiting
from kregistry.kernel import Kernel
from kregistry.toolchain import find_toolchain

ROOT = Path(__file__).resolve().parent.parent
#: When the first kernel of a dry run is known, and the last one, in seconds.
_FIRST, _LAST = 2.5, 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, default=ROOT / "kernels.yaml")
    parser.add_argument("--model", default="deepseek-v3")
    parser.add_argument("--target", default="h200")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--way", choices=("lock", "plan", "headers"), default="lock")
    parser.add_argument("--noise", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    manifest = load_manifest(options.manifest, Registry(), options.target).select([options.model])
    jobs = [FamilyJob(kernel, member_of(kernel)) for kernel in in_order_of_plan(manifest)]
    rounds = []
    for seed in range(options.rounds):
        run = Run(jobs, options.workers, options.noise, seed)
        rounds.append(run.replay(options.way))
        print(rounds[-1], flush=True)
    over = statistics.median(each["over"] for each in rounds)
    print(f"{len(jobs)} kernels, {options.workers} workers, {options.way}: over the bound by {over:.3f} (median)")
    if options.json:
        options.json.write_text(json.dumps({"over": over, "rounds": rounds}, indent=1) + "\n")


def in_order_of_plan(manifest: Manifest) -> Iterable[Kernel]:
    """The kernels as a dry run meets them: it plans entries with few values first."""
    toolchain, kernels = find_toolchain(), dict[str, Kernel]()
    for entry in sorted(manifest.entries, key=lambda each: len(each.range.values())):
        for kernel in shipped_kernels(evolve(manifest, entries=(entry,)), toolchain, {}):
            kernels.setdefault(kernel.key, kernel)
    return kernels.values()


class NoHeaders(HeaderPool):
    """A pool without front ends: all that were parsed stay."""

    def __init__(self) -> None:
        pass

    def shrink(self, needed: Collection[KernelFamily]) -> Mapping[KernelFamily, Headers]:
        return {}


class Run:
    """One build."""

    def __init__(self, jobs: list[FamilyJob], workers: int, noise: float, seed: int) -> None:
        nowhere = Path("/nowhere")
        self._jobs = jobs
        self._workers = workers
        self._estimates = Estimates(Costs(nowhere), KernelSizes(nowhere))
        chance = random.Random(seed)
        self._factors = {job.kernel.key: chance.lognormvariate(0, noise) for job in jobs}
        self._schedule = Schedule(workers)
        self._groups = Groups(self._estimates, workers)
        self._waiting = Waiting(self._schedule, self._groups)
        self._parsed: set[KernelFamily] = set()
        self._open = {job.kernel.key for job in jobs}
        self._spans: list[tuple[str, str, float, float]] = []
        self._lock = threading.Lock()

    def replay(self, way: str) -> dict[str, Any]:
        planned = way != "lock"
        self._schedule.start(GroupTasks(self._groups, self._estimates, self._parse, self._run))
        began = time.monotonic()
        if way == "headers":
            for job in self._jobs:
                self._waiting.expect(job.member.family, job.kernel.name)
            self._schedule.open()
        for number, job in enumerate(self._jobs):
            if planned:
                due = _FIRST + (_LAST - _FIRST) * number / len(self._jobs)
                time.sleep(max(0.0, began + due - time.monotonic()))
            self._waiting.add(job)
        if not planned:
            self._schedule.open()
        self._waiting.complete()
        self._schedule.wait(lambda: not self._open)
        self._schedule.close()
        return self._result(way)

    def _result(self, way: str) -> dict[str, Any]:
        first = min(start for _, stage, start, _ in self._spans if way != "headers" or stage != "parse")
        last = max(end for _, _, _, end in self._spans)
        parse = max((end - start for _, stage, start, end in self._spans if stage == "parse"), default=0.0)
        busy = sum(end - start for _, _, start, end in self._spans)
        longest = max(self._true(job).code for job in self._jobs)
        bound = max(busy / self._workers, longest)
        ends: dict[str, float] = {}
        for worker, _, _, end in self._spans:
            ends[worker] = max(ends.get(worker, 0.0), end)
        idle_at_end = sum(last - end for end in ends.values()) + (self._workers - len(ends)) * (last - first)
        count = len([1 for _, stage, _, _ in self._spans if stage == "generate"])
        with_headers = parse + (busy - parse) / self._workers
        return {
            "seconds": round(last - first, 2),
            "bound": round(bound, 2),
            "longest": round(longest, 2),
            "over": round((last - first) / bound, 3),
            **({"over_with_headers": round((last - first) / with_headers, 3)} if way == "plan" else {}),
            "busy": round(busy, 1),
            "idle_at_end": round(idle_at_end, 1),
            "front_ends": count,
            "alone": len([1 for _, stage, _, _ in self._spans if stage == "alone"]),
        }

    def _true(self, job: FamilyJob) -> Cost:
        cost, factor = self._estimates.cost(job), self._factors[job.kernel.key]
        return Cost(cost.parse, cost.generate * factor, cost.assemble * factor)

    def _sleep(self, stage: str, seconds: float) -> None:
        start = time.monotonic()
        time.sleep(seconds)
        with self._lock:
            self._spans.append((threading.current_thread().name, stage, start, time.monotonic()))

    def _parse(self, task: ToParse) -> None:
        self._sleep("parse", task.seconds)
        self._parsed.add(task.family)
        self._waiting.headers_parsed(task.family, NoHeaders())
        if task.first is not None:
            self._waiting.add(task.first)

    def _run(self, group: Group) -> None:
        costs = [self._true(job) for job in group.jobs]
        if group.family not in self._parsed:
            for job, cost in zip(group.jobs, costs):
                self._sleep("alone", cost.alone)
                self._done(job)
            return
        self._sleep("generate", start_seconds(costs[0].parse) + sum(cost.generate for cost in costs))
        if len(costs) == 1:
            self._assemble(group.jobs[0])
            return
        for job in group.jobs:
            self._schedule.put(self._estimates.cost(job).assemble, partial(self._assemble, job))

    def _assemble(self, job: FamilyJob) -> None:
        self._sleep("assemble", self._true(job).assemble)
        self._done(job)

    def _done(self, job: FamilyJob) -> None:
        self._schedule.change(partial(self._open.discard, job.kernel.key))


if __name__ == "__main__":
    main()
