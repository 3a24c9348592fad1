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


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Ray makes tasks of functions only, and not of every callable."""
    return function(*args, **kwargs)


class _RayExecutor(Executor):
    def __init__(self, ray: Any, ours: bool) -> None:
        self._ray, self._ours = ray, ours
        self._call = ray.remote(num_cpus=1, max_retries=_RETRIES)(_call)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = self._call.remote(fn, args, kwargs).future()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if self._ours:
            self._ray.shutdown()
