"""Everything that a bug report needs, in one file: versions, environment, plans and logs, without secrets."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import tarfile
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from kregistry.bounded_input import open_input
from kregistry.integrations.start_places import places
from kregistry.store import Store
from kregistry.store.atomic import write_output
from kregistry.store.listing import matching

#: Variables that change what kregistry, DeepGEMM or an engine does.
_PREFIXES = ("KREGISTRY", "DG_", "DJ_", "SGLANG_", "SGL_", "VLLM_", "CUDA", "NVIDIA_", "TORCH", "TRITON", "FLASHINFER_")
_OTHERS = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "CC", "XDG_CACHE_HOME")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|AUTH|CREDENTIAL|COOKIE", re.IGNORECASE)
#: The user and password of a URL.
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_HIDDEN = "(not shown)"
#: The last bytes of a log that are taken.
_LOG_BYTES = 200_000


def write_bundle(path: Path, findings: Iterable[Mapping[str, object]], store: Path) -> list[str]:
    """Write a .tar.gz; the names of its files.

    Raises:
        StorageError: the file cannot be written.
    """
    parts = {
        "doctor.json": json.dumps(list(findings), indent=1),
        "environment.txt": "".join(f"{name}={value}\n" for name, value in safe_environment(os.environ).items()),
        "machine.txt": f"{platform.platform()}\n{platform.python_version()}\n{os.cpu_count()} cores\n",
        "packages.txt": "".join(f"{line}\n" for line in _packages()),
        **_of_the_store(store),
    }
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, text in parts.items():
            data = text.encode(errors="replace")
            entry = tarfile.TarInfo(f"kregistry-report/{name}")
            entry.size, entry.mtime = len(data), int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    write_output(path, made.getvalue())
    return list(parts)


def safe_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that matter; the value of one whose name sounds like a secret is hidden."""
    return {
        name: _HIDDEN if _SECRET.search(name) else _CREDENTIALS.sub(_HIDDEN, value)
        for name, value in sorted(environment.items())
        if name.startswith(_PREFIXES) or name in _OTHERS
    }


def _packages() -> list[str]:
    found = {f"{each.name}=={each.version}" for each in metadata.distributions() if each.name}
    return sorted(found, key=str.lower)


def _of_the_store(store: Path) -> dict[str, str]:
    """What the last starts left, and which plans, remembered calls and kernels there are."""
    logs = [each for place in places(Store(store)) for each in sorted(matching(place, "*/*"))]
    parts = {f"starts/{each.parent.name}/{each.name}": _end_of(each) for each in logs if each.is_file()}
    files = (each for kind in ("plans", "first_calls") for each in matching(store / kind, "**/*.*"))
    names = [str(each.relative_to(store)) for each in files]
    kernels = sum(1 for _ in matching(store / "kernels", "*/*"))
    return {**parts, "store.txt": "\n".join([f"{kernels} kernels", *sorted(names)]) + "\n"}


def _end_of(path: Path) -> str:
    try:
        with open_input(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
            text = file.read(_LOG_BYTES).decode(errors="replace")
    except OSError as error:
        return f"cannot be read: {error}"
    return _CREDENTIALS.sub(_HIDDEN, text)
