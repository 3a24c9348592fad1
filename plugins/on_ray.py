"""``--on ray://HOST:10001``: the nodes of a Ray cluster compile. Needs the package ray (extra ``ray``).

``ray://HOST:PORT`` is the address of Ray's client server; ``ray://auto`` is the cluster that this machine belongs to.
Ray has no executor of its own: this one makes a task of each call, and Ray runs it again if its worker dies.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from kregistry import hookimpl

#: How often Ray runs a task again whose worker died.
_RETRIES = 3


@hookimpl
def kregistry_executor(url: str) -> Executor | None:
    """An executor whose futures are those of Ray's objects."""
    if not url.startswith("ray://"):
        return None
    import ray

    address = "auto" if url in ("ray://", "ray://auto") else url
    ours = not ray.is_initialized()
    ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    return _RayExecutor(ray, ours)


class _RayExecutor(Executor):
    def __init__(self, ray: Any, ours: bool) -> None:
        self._ray, self._ours = ray, ours
        self._tasks: dict[Callable[..., Any], Any] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if fn not in self._tasks:
            self._tasks[fn] = self._ray.remote(num_cpus=1, max_retries=_RETRIES)(fn)
        future: Future[Any] = self._tasks[fn].remote(*args, **kwargs).future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if self._ours:
            self._ray.shutdown()
