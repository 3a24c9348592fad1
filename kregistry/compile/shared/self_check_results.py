"""Results of self-checks: of this store, of the package, or of a remote tier.

STORE/front_ends/DIGEST.json    one family: the kernel that was compared, and what differed, if anything did

The digest covers compiler, flags, headers and family, how front ends are shared, and the architecture of the host. The
package ships the families that were found identical with the supported stacks (``front_ends.json``), and each writable
remote tier gets what a build finds. A result of a remote tier is trusted like the kernels of that tier.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
from collections.abc import Callable
from enum import Enum
from functools import cache
from importlib import resources
from pathlib import Path

from attrs import frozen

from kregistry.bounded_input import read_bounded
from kregistry.compile.shared.kernel_family import KernelFamily
from kregistry.compile.shared.shipped import CHECKS, is_used
from kregistry.deep_gemm.compiler import Compiler
from kregistry.kernel import Kernel
from kregistry.store import atomic, signed_json

#: The files of this package that decide what a shared front end makes, and what counts as the same kernel.
_METHOD = ("headers.c", "group_source.py", "ptx.py", "comparison.py")


class Source(Enum):
    """Who compared."""

    STORE = "an earlier build with this store"
    PACKAGE = "kregistry's authors"
    REMOTE = "a remote tier"


@frozen
class KnownResult:
    """What was found before.

    Attributes:
        difference: what differed; empty if nothing did.
        source: who compared.
    """

    difference: str
    source: Source


class SelfCheckResults:
    """What differed, by family. A lost result only costs another check.

    Args:
        directory: of the store's results.
        nvcc: path of the compiler.
        fetch: gives the content of an object in a remote tier, by name; ``None`` if no tier has it.
        write_back: writes an object to the remote tiers.
    """

    def __init__(
        self,
        directory: Path,
        nvcc: Path,
        fetch: Callable[[str], bytes | None] = lambda name: None,
        write_back: Callable[[str, bytes], None] = lambda name, content: None,
    ) -> None:
        self._directory = directory
        self._nvcc = nvcc
        self._fetch = fetch
        self._write_back = write_back

    def recall(self, family: KernelFamily) -> KnownResult | None:
        """The result of an earlier check; ``None`` if there was none.

        Raises:
            MissingRequirement: nvcc does not report its version.
        """
        path = self._path(family)
        found = None
        with contextlib.suppress(OSError, ValueError):
            found = _difference(path.stem, read_bounded(path))
        if found is not None:
            return KnownResult(found, Source.STORE)
        if is_used(CHECKS) and path.stem in shipped_results():
            return KnownResult("", Source.PACKAGE)
        content = self._fetch(object_name(path.stem))
        found = None if content is None else _difference(path.stem, content)
        return None if found is None else KnownResult(found, Source.REMOTE)

    def remember(self, family: KernelFamily, kernel: Kernel, difference: str) -> None:
        """Keep the result of a check of one kernel of a family."""
        path = self._path(family)
        content = signed_json.encode(
            {"key": path.stem, "family": str(family), "kernel": kernel.id, "difference": difference}
        )
        with contextlib.suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True)
            atomic.replace_file(path, content)
        self._write_back(object_name(path.stem), content)

    def _path(self, family: KernelFamily) -> Path:
        compiler = Compiler.at(self._nvcc, "", self._nvcc.parent.parent)
        inputs = f"{family.digest(compiler)} {_method()} {platform.machine()}"
        return self._directory / f"{hashlib.sha256(inputs.encode()).hexdigest()}.json"


def object_name(digest: str) -> str:
    """The name of a result in a remote tier."""
    return f"v1/front_ends/{digest[:2]}/{digest}"


@cache
def shipped_results() -> frozenset[str]:
    """The digests of the families that were found identical, and that ship with the package."""
    content = json.loads(resources.files(__package__).joinpath("front_ends.json").read_text())
    return frozenset(content)


@cache
def _method() -> str:
    """A digest of how front ends are shared and compared: a result of another method says nothing."""
    digest = hashlib.sha256()
    for name in _METHOD:
        digest.update(resources.files(__package__).joinpath(name).read_bytes())
    return digest.hexdigest()


def _difference(digest: str, content: bytes) -> str | None:
    """What a record says that differed; ``None`` if it is damaged, or the record of another family."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        record = signed_json.decode(content)
        if record["key"] == digest and isinstance(record["difference"], str):
            return record["difference"]
    return None
