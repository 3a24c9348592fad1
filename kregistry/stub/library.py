"""Compiles the stub GPU: three small C libraries, compiled once for each version of the CUDA headers."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from kregistry.bounded_input import read_bounded
from kregistry.errors import MissingRequirement, storage_errors
from kregistry.full_disk import raise_if_full
from kregistry.python_child import child_environment
from kregistry.store import atomic
from kregistry.toolchain import Toolchain
from kregistry.user_cache import user_cache

#: A process on the stub GPU ends with this code when its host code touches device memory.
HOST_ACCESS_EXIT_CODE = 86
_NEEDED_BYTES = 1 << 20
_SOURCES = resources.files(__package__) / "cuda"
_DECLARED = re.compile(r"\b(cu[A-Z]\w*|cuda[A-Z]\w*) *\(")
#: The real runtime answers these without a device.
_REAL = re.compile(r"cuda(GetErrorString|GetErrorName|CreateChannelDesc)")


def default_stub_directory() -> Path:
    """Where the compiled stub GPU is kept: below the user's cache directory."""
    return user_cache() / "stub"


def compile_stub(toolchain: Toolchain, directory: Path) -> Path:
    """The compiled library; it is taken from ``directory`` if it was compiled before.

    A second library lies beside it, which answers as NVML; the first one loads it. A third one repeats calls, see
    :func:`calls_library`.

    Raises:
        MissingRequirement: the C compiler reports an error.
        StorageError: the directory cannot be written, or the compiler cannot be started.
    """
    sources = {entry.name: entry.read_text() for entry in _SOURCES.iterdir() if entry.name.endswith((".c", ".h"))}
    content = "\0".join([*(f"{name}\0{text}" for name, text in sorted(sources.items())), Path(__file__).read_text()])
    key = hashlib.sha256(f"{content}\0{toolchain.cuda.version}\0{toolchain.cuda.home}".encode()).hexdigest()[:16]
    library, second = (directory / f"libkregistry_{name}.{key}.so" for name in ("stub", "nvml"))
    third = calls_library(library)
    if _intact(library) and _intact(second) and _intact(third):
        return library
    with storage_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        atomic.remove_leftovers(directory, atomic.ABANDONED_SECONDS)
        place = directory / atomic.scratch_name(".compile")
        try:
            place.mkdir()
            for name, text in sources.items():
                (place / name).write_text(text)
            (place / "generated.c").write_text("\n".join(_weak_functions(toolchain, place)))
            cuda_sources = [name for name in (*sources, "generated.c") if name not in ("nvml.c", "calls.c", "stub.h")]
            nvml = _compile(toolchain, place, "libnvidia-ml.so.1", ["nvml.c"])
            cuda = _compile(toolchain, place, "libcuda.so.1", cuda_sources)
            calls = _compile(toolchain, place, "libkregistry_calls.so", ["calls.c"])
            for built, final in ((nvml, second), (calls, third), (cuda, library)):
                _seal(built)
                atomic.clear_directory(final, place / "in_the_way")
                built.replace(final)
        finally:
            atomic.remove(place)
    return library


def calls_library(stub: Path) -> Path:
    """The library that lies beside a stub and repeats calls through TVM FFI; it is preloaded after the stub.

    Only processes of a dry run need it. Other programs on the stub call TVM FFI directly.
    """
    return stub.with_name(stub.name.replace("_stub.", "_calls.", 1))


def _seal(library: Path) -> None:
    """Append a digest of the library, which loaders ignore: a file that was cut is found, and compiled again."""
    content = library.read_bytes()
    library.write_bytes(content + hashlib.sha256(content).digest())


def _intact(library: Path) -> bool:
    try:
        content = read_bounded(library)
    except (OSError, ValueError):
        return False
    return hashlib.sha256(content[:-32]).digest() == content[-32:]


def _compile(toolchain: Toolchain, place: Path, soname: str, sources: list[str]) -> Path:
    library = place / soname
    command = [toolchain.c_compiler, "-shared", "-fPIC", "-O1", "-w", f"-I{toolchain.cuda.include}"]
    command += [f"-Wl,-soname,{soname}", *(str(place / name) for name in sources), "-ldl", "-lpthread"]
    _run(toolchain, [*command, "-o", str(library)], place)
    return library


def _run(toolchain: Toolchain, command: list[str], place: Path) -> str:
    """What a C compiler prints, whose files go to ``place``."""
    environment = {**child_environment(), "TMPDIR": str(place)}
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", env=environment
    )
    if result.returncode:
        raise_if_full(place, _NEEDED_BYTES, result.stderr)
        raise MissingRequirement(
            f"{toolchain.c_compiler} does not compile the stub GPU:\n{result.stderr.strip()[-2000:]}",
            f"the CUDA headers in {toolchain.cuda.include} may be incomplete",
        )
    return result.stdout


def _weak_functions(toolchain: Toolchain, place: Path) -> Iterator[str]:
    """C source with one function for each name that CUDA's headers declare: it reports its name and fails.

    A function that the other sources define takes its place.
    """
    request = place / "headers.h"
    request.write_text("#include <cuda.h>\n#include <cuda_runtime_api.h>\n")
    text = _run(toolchain, [toolchain.c_compiler, "-E", "-w", f"-I{toolchain.cuda.include}", str(request)], place)
    yield "int missing(const char *name);"
    yield '#define MISSING __attribute__((weak, section("kregistry_missing")))'
    for name in sorted(set(_DECLARED.findall(text))):
        if not _REAL.fullmatch(name):
            yield f'MISSING int {name}(void) {{ return missing("{name}"); }}'
