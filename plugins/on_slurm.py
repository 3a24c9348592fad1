"""``--on slurm://PARTITION``: jobs of a Slurm cluster compile. Needs the package submitit (extra ``slurm``).

Each task is a job. Its input and result are files in a directory that all nodes share: ``slurm://PARTITION/DIRECTORY``,
by default below the user's cache directory. Slurm runs a job again whose node failed.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from kregistry import hookimpl

#: Seconds between two looks for results.
_POLL_SECONDS = 0.5
#: Slurm's own commands try for ten seconds to reach the controller.
_ANSWER_SECONDS = 30
#: A job takes half a minute. With more than a partition allows, it would wait for ever.
_JOB_MINUTES = 10


@hookimpl
def kregistry_executor(url: str) -> Executor | None:
    """An executor that submits jobs and waits for their files."""
    if not url.startswith("slurm://"):
        return None
    import submitit

    partition, _, directory = url.removeprefix("slurm://").partition("/")
    _check(partition)
    folder = Path(f"/{directory}") if directory else _default_folder()
    jobs: Any = submitit.SlurmExecutor(folder=folder)
    options = {"partition": partition} if partition else {}
    jobs.update_parameters(
        **options,
        job_name="kregistry",
        time=_JOB_MINUTES,
        cpus_per_task=1,
        additional_parameters={"requeue": True},
    )
    return _SlurmExecutor(jobs)


def _check(partition: str) -> None:
    """Ask the controller for the nodes of a partition, so that a cluster that does not answer is an error at once."""
    named = ["-p", partition] if partition else []
    asked = subprocess.run(["sinfo", "-h", "-o", "%D", *named], capture_output=True, text=True, timeout=_ANSWER_SECONDS)
    if asked.returncode:
        raise OSError(asked.stderr.strip() or f"sinfo ended with exit code {asked.returncode}")
    if not asked.stdout.strip():
        raise ValueError(f"Slurm has no partition {partition}")


def _default_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kregistry" / "slurm"


class _SlurmExecutor(Executor):
    def __init__(self, jobs: Any) -> None:
        self._jobs = jobs
        self._open: dict[Future[Any], Any] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="slurm", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:  # sbatch is called by one thread at a time
            self._open[future] = self._jobs.submit(fn, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        while wait and not cancel_futures and self._open:
            self._ended.wait(_POLL_SECONDS)
        self._ended.set()
        with self._lock:
            for job in self._open.values():
                job.cancel(check=False)
        self._thread.join(_ANSWER_SECONDS)  # it may wait for a command of Slurm

    def _watch(self) -> None:
        while not self._ended.wait(_POLL_SECONDS):
            with self._lock:
                waiting = list(self._open.items())
            for future, job in waiting:
                self._look(future, job)

    def _look(self, future: Future[Any], job: Any) -> None:
        """Settle the future of a job that has ended, or of which Slurm cannot say whether it has."""
        try:
            if not job.done():
                return
            result, failure = job.result(), None
        except Exception as error:  # the job's own, that it left no result, or one of Slurm's commands
            result, failure = None, error
        with self._lock:
            del self._open[future]
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)
