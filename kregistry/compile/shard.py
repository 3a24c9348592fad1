"""One of several parts of a build, for machines that build together and meet in a remote.

Every machine divides the same kernels in the same way, without asking the others. Kernels of one family stay together
as far as the parts can be equally long, because they share the work on their headers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from attrs import evolve, frozen

from kregistry.compile.costs import shipped_costs
from kregistry.errors import InputError
from kregistry.kernel import Kernel
from kregistry.plan.plan import Plan

#: The number of machines, where the scheduler gives only the own index (Kubernetes' indexed jobs).
SHARD_COUNT = "KREGISTRY_SHARD_COUNT"
#: (own index, number of machines, whether the index starts at 1), first match wins. In a task of a Slurm array,
#: SLURM_PROCID is set too, and always 0; so arrays come first.
_SCHEDULERS = (
    ("JOB_COMPLETION_INDEX", SHARD_COUNT, False),
    ("CI_NODE_INDEX", "CI_NODE_TOTAL", True),
    ("CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", False),
    ("BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", False),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", False),
    ("SLURM_PROCID", "SLURM_NTASKS", False),
)
_SLURM_ARRAY = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP", "SLURM_ARRAY_TASK_COUNT")
#: Seconds of a kernel of a family that no costs are shipped for.
_SECONDS = 1.5
_HINT = "--shard 2/5 is the second of five parts; --shard auto reads the variables of Slurm, Kubernetes and CI systems"


@frozen
class Shard:
    """Part ``index`` of ``count``, counted from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> Shard:
        """
        Args:
            text: ``I/N`` or ``auto``.
            environment: where ``auto`` looks.

        Raises:
            InputError: the text is neither, or no scheduler has set its variables.
        """
        if text == "auto":
            return cls._of_scheduler(environment)
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
        return cls._checked(int(match[1]), int(match[2]), f"--shard {text}") if match else cls._refuse(text)

    def part(self, kernels: Iterable[Kernel]) -> list[Kernel]:
        """The kernels of this part: every kernel is in exactly one."""
        ordered = sorted(kernels, key=lambda kernel: (kernel.name, kernel.command.flags, kernel.key))
        costs = shipped_costs()
        seconds = [costs[each.name].code if each.name in costs else _SECONDS for each in ordered]
        total, before, chosen = sum(seconds), 0.0, []
        for kernel, own in zip(ordered, seconds):
            middle = before + own / 2
            if int(middle / total * self.count) == self.index - 1:
                chosen.append(kernel)
            before += own
        return chosen

    def of_plan(self, plan: Plan) -> Plan:
        """A plan whose kernels are those of this part."""
        return evolve(plan, kernels={each.id: each for each in self.part(plan.kernels.values())})

    @classmethod
    def _of_scheduler(cls, environment: Mapping[str, str]) -> Shard:
        if all(name in environment for name in _SLURM_ARRAY):
            number, least, step, count = (cls._number(name, environment) for name in _SLURM_ARRAY)
            return cls._checked((number - least) // max(step, 1) + 1, count, "the Slurm array")
        for name, total, from_one in _SCHEDULERS:
            if name in environment and total not in environment and total == SHARD_COUNT:
                raise InputError(
                    f"--shard auto: {name} is set, and {SHARD_COUNT} is not", f"set {SHARD_COUNT} to the completions"
                )
            if name in environment and total in environment:
                index = cls._number(name, environment) + (0 if from_one else 1)
                return cls._checked(index, cls._number(total, environment), f"{name} and {total}")
        raise InputError("--shard auto: no scheduler has set its variables", _HINT)

    @staticmethod
    def _number(name: str, environment: Mapping[str, str]) -> int:
        if not re.fullmatch(r"\d{1,9}", environment[name], re.ASCII):
            raise InputError(f"--shard auto: {name}={environment[name][:80]!r} is not a number", _HINT)
        return int(environment[name])

    @classmethod
    def _checked(cls, index: int, count: int, what: str) -> Shard:
        if not 1 <= index <= count:
            raise InputError(f"{what}: there is no part {index} of {count}", _HINT)
        return cls(index, count)

    @classmethod
    def _refuse(cls, text: str) -> Shard:
        raise InputError(f"--shard {text[:80]}: expected I/N or auto", _HINT)
