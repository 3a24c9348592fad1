"""A tier in an object store, a directory or a web server, by obstore."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from kregistry.errors import MissingRequirement
from kregistry.remote.location import Location
from kregistry.remote.tier import Tier, TierError

_Answer = TypeVar("_Answer")
#: A tier that is slower than this is a miss: compiling a kernel takes about as long.
_TIMEOUT = timedelta(seconds=10)
_CONNECT_TIMEOUT = timedelta(seconds=3)
_RETRIES = 2


class ObjectTier(Tier):
    """Whatever obstore has a URL for.

    Args:
        location: its URL and options. Credentials come from where the library of each cloud looks for them (``AWS_*``,
            ``GOOGLE_*``, ``AZURE_*``).

    Raises:
        MissingRequirement: obstore is not installed.
        TierError: the URL cannot be used.
    """

    def __init__(self, location: Location) -> None:
        try:
            from obstore.store import from_url
        except ImportError as error:
            raise MissingRequirement(
                f"remote {location.url}: the package obstore is not installed", "pip install 'obstore>=0.11'"
            ) from error
        self.name = location.url
        self.read_only = location.read_only
        options: dict[str, Any] = {}
        if not location.url.startswith(("file:", "memory:")):
            options["client_options"] = {
                "allow_http": location.url.startswith("http:") or _endpoint_is_plain(),
                "timeout": _TIMEOUT,
                "connect_timeout": _CONNECT_TIMEOUT,
            }
            options["retry_config"] = {"max_retries": _RETRIES, "retry_timeout": _TIMEOUT}
        if location.url.startswith("file:"):
            options["mkdir"] = not location.read_only
        self._store = self._ask(lambda: from_url(location.secret_url, **options))

    def get(self, name: str) -> bytes | None:
        import obstore

        return self._ask_for(lambda: bytes(obstore.get(self._store, name).bytes()))

    def put(self, name: str, content: bytes) -> None:
        import obstore

        self._ask(lambda: obstore.put(self._store, name, content))

    def has(self, name: str) -> bool:
        import obstore

        return self._ask_for(lambda: obstore.head(self._store, name)) is not None

    def _ask_for(self, request: Callable[[], _Answer]) -> _Answer | None:
        """The answer; ``None`` if there is no such object."""
        try:
            return self._ask(request)
        except FileNotFoundError:
            return None

    def _ask(self, request: Callable[[], _Answer]) -> _Answer:
        """obstore's errors have many classes, one for each kind of store."""
        try:
            return request()
        except FileNotFoundError:
            raise
        except Exception as error:
            first = str(error).partition("\n")[0]
            raise TierError(f"{type(error).__name__}: {first[:200]}") from error


def _endpoint_is_plain() -> bool:
    """Whether the variable that names a server of one's own names one without TLS."""
    import os

    return any(os.environ.get(name, "").startswith("http:") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))
