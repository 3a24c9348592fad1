"""A task of a plan or build: what one worker did, from when to when."""

from __future__ import annotations

from typing import Any

from attrs import frozen

#: The stages of a build, in the order in which a kernel goes through them.
STAGES = ("start", "plan", "parse", "generate", "assemble", "alone", "compare", "cluster")


@frozen
class Task:
    """One task.

    Attributes:
        stage: ``start``: a process of the dry run loads torch and DeepGEMM; ``plan``: it runs DeepGEMM's host code;
            ``parse``: a front end parses the headers of a family; ``generate``: a front end writes the PTX of kernels;
            ``assemble``: the assembler makes a cubin; ``alone``: nvcc compiles one kernel; ``compare``: the same, for
            the self-check of a shared front end; ``cluster``: a worker of a cluster compiles kernels.
        text: what it is done for: an entry, or a family of kernels.
        worker: the thread, e.g. ``worker 3``; in the stage cluster, the host.
        kernels: ids of the kernels that it makes; empty in the stages start, plan and parse.
        started: seconds since the epoch.
        seconds: its duration; ``None`` while it runs.
    """

    stage: str
    text: str
    worker: str
    kernels: tuple[str, ...]
    started: float
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "text": self.text,
            "worker": self.worker,
            "kernels": list(self.kernels),
            "started": round(self.started, 3),
            "seconds": None if self.seconds is None else round(self.seconds, 3),
        }
