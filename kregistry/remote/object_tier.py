"""A tier in an object store, a directory or a web server, by obstore."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from kregistry.errors import MissingRequirement, shorten
from kregistry.remote.location import CREDENTIALS, Location
from kregistry.remote.tier import Tier, TierError
from kregistry.store.packed import MAX_BYTES

_Answer = TypeVar("_Answer")
#: A tier that is slower than this is a miss: compiling a kernel takes about as long.
_TIMEOUT = timedelta(seconds=10)
_CONNECT_TIMEOUT = timedelta(seconds=3)
_RETRIES = 2
#: obstore: "Generic HTTP error: Error performing HEAD https://cdn/k after 2 retries, max_retries: 2, ... - no answer".
_REQUEST = re.compile(r"Generic \w+ error: Error performing (?P<what>[A-Z]+ \S+) .*? - (?P<answer>.*)")
#: Characters of a reason that are shown.
_MOST = 400


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
        self._directory = directory = location.file()
        if directory is not None and location.read_only and not directory.is_dir():
            raise TierError("no such directory")
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

        def read() -> bytes:
            found = obstore.get(self._store, name)
            if found.meta["size"] > MAX_BYTES:
                raise TierError(f"an object of {found.meta['size']} bytes is no kernel")
            return bytes(found.bytes())

        return None if self._is_no_file(name) else self._ask_for(read)

    def put(self, name: str, content: bytes) -> None:
        import obstore

        self._ask(lambda: obstore.put(self._store, name, content))

    def has(self, name: str) -> bool:
        import obstore

        return not self._is_no_file(name) and self._ask_for(lambda: obstore.head(self._store, name)) is not None

    def _is_no_file(self, name: str) -> bool:
        """Whether something else than a file lies where a directory has this object: one waits for a named pipe."""
        path = None if self._directory is None else self._directory / name
        return path is not None and path.exists() and not path.is_file()

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
        except (FileNotFoundError, TierError):
            raise
        except Exception as error:
            raise TierError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """What went wrong: the request and its answer, without the numbers of the retries between them."""
    kind, first = type(error).__name__, CREDENTIALS.sub("", str(error).partition("\n")[0])
    request = _REQUEST.fullmatch(first)
    if request is None:
        return shorten(f"{kind}: {first}", _MOST)
    reason = f"{request['what']}: {request['answer']}"
    return shorten(reason if kind == "GenericError" else f"{kind}: {reason}", _MOST)


def _endpoint_is_plain() -> bool:
    """Whether the variable that names a server of one's own names one without TLS."""
    import os

    return any(os.environ.get(name, "").startswith("http:") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))
