"""``--on dask://HOST:8786``: the workers of a Dask cluster compile. Needs the package distributed (extra ``dask``)."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from kregistry import hookimpl

#: Scheme of --on -> scheme of Dask. The certificates for TLS are in Dask's own configuration.
_SCHEMES = {"dask": "tcp", "dask+tls": "tls"}
#: Seconds until the scheduler, and then the first worker, must have answered.
_CONNECT_SECONDS = 10
_WORKER_SECONDS = 60


@hookimpl
def kregistry_executor(url: str) -> Executor | None:
    """Dask's own executor, whose client ends with it."""
    scheme, _, address = url.partition("://")
    if scheme not in _SCHEMES:
        return None
    if not address.rpartition(":")[2].isdecimal():
        raise ValueError(f"expected {scheme}://HOST:PORT")
    from distributed import Client
    from distributed.cfexecutor import ClientExecutor

    class DaskExecutor(ClientExecutor):  # type: ignore[misc]
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=wait and not cancel_futures)
            self._client.close()

    client: Any = Client(f"{_SCHEMES[scheme]}://{address}", timeout=_CONNECT_SECONDS, set_as_default=False)
    try:
        client.wait_for_workers(1, timeout=_WORKER_SECONDS)
    except BaseException:
        client.close()
        raise
    executor: Executor = DaskExecutor(client, pure=False)
    return executor
