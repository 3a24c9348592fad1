"""The kernels of well-known call sites, which ship with the package for each supported stack.

Compilers start on them before torch is loaded, while the dry run confirms them. A file holds the kernels of one version
of DeepGEMM, and the call sites that need them, by target; ``tools/shipped_kernels.py`` writes it. It holds no path, and
the keys of its kernels are computed on each machine: with its compiler, which may be another one.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from packaging.version import Version

from kregistry.compile.locked_kernels import installed_headers
from kregistry.compile.shared.shipped import FAMILIES, KERNELS, is_used
from kregistry.deep_gemm.allowed_commands import reason_to_refuse
from kregistry.deep_gemm.compiler import Compiler
from kregistry.deep_gemm.cubin_inputs import cubin_key, remembered_tree_digest
from kregistry.deep_gemm.generated_source import parse_source
from kregistry.deep_gemm.variables import VARIABLES, Handling
from kregistry.deep_gemm.version import series_of
from kregistry.errors import MissingRequirement
from kregistry.kernel import CompilerCommand, Kernel
from kregistry.manifest import Entry, Manifest
from kregistry.plan.lock_sources import TOOLKIT, SourcesSection
from kregistry.plan.plan import Plan
from kregistry.target import Target
from kregistry.toolchain import Toolchain

#: Stands for the reference to the kernel in a source.
_MARK = "\0"
_CUBIN = "kernel.cubin"
#: A kernel type that needs fewer kernels of a family in all of the gallery may need one or none here.
_MANY = 8
#: From this nvcc on, DeepGEMM compiles for the architectures of a family (``sm_100f``).
_FAMILY_ARCHITECTURES = Version("12.9")


def shipped_kernels(
    manifest: Manifest,
    toolchain: Toolchain,
    environment: Mapping[str, str] = os.environ,
    directory: Any = None,
) -> tuple[Kernel, ...]:
    """The kernels of a manifest's entries that are known before its dry run, each once.

    There are none with another DeepGEMM or other headers than those that the file was written with, or if a variable of
    the environment changes kernels. With another compiler DeepGEMM generates the same sources.
    """
    content = _read(toolchain.versions.deep_gemm, directory) if is_used(KERNELS, environment) else None
    compiler = toolchain.cuda.compiler
    if content is None or not _takes_flags(compiler, manifest.target) or _is_changed(compiler, toolchain, environment):
        return ()
    known = content["entries"].get(target_name(manifest.target), {})
    numbers = {number for entry in manifest.entries for number in _numbers(known, entry)}
    headers = next((each for each in installed_headers() if remembered_tree_digest(each) == content["headers"]), None)
    if not numbers or headers is None:
        return ()
    return tuple(_kernel(content, number, headers, compiler) for number in sorted(numbers))


def shipped_families(
    kernel_types: Collection[str],
    target: Target,
    toolchain: Toolchain,
    environment: Mapping[str, str] = os.environ,
    directory: Any = None,
) -> tuple[Kernel, ...]:
    """A kernel of each family that kernel types usually need, whatever their shapes are.

    Families of few kernels are left out: their headers are parsed when they are known to be needed. They are a guess,
    which costs the seconds of parsing: a DeepGEMM for which nothing ships is taken to include the headers of another of
    its series, and a GPU for which nothing ships as one of its architecture.
    """
    if not is_used(FAMILIES, environment):
        return ()
    content = _read(toolchain.versions.deep_gemm, directory) or _read_of_series(toolchain.versions.deep_gemm, directory)
    compiler, headers = toolchain.cuda.compiler, installed_headers()
    if content is None or not headers or not _takes_flags(compiler, target):
        return ()
    if _is_changed(compiler, toolchain, environment):
        return ()
    families: dict[tuple[int, str], set[int]] = {}
    for name, known in content["entries"].items():
        if name.partition("-")[0] != target.compute_capability:
            continue
        for number in (number for each, spans in known.items() if _type(each) in kernel_types for number, *_ in spans):
            _, command, template, _ = content["kernels"][number]
            families.setdefault((command, content["templates"][template].partition("static ")[0]), set()).add(number)
    many = [min(numbers) for numbers in families.values() if len(numbers) >= _MANY]
    return tuple(_kernel(content, number, headers[0], compiler) for number in many)


def every_shipped_kernel(toolchain: Toolchain) -> tuple[Kernel, ...]:
    """All kernels that ship for the installed stack.

    Raises:
        MissingRequirement: none do.
    """
    content = _read(toolchain.versions.deep_gemm, None)
    headers = installed_headers()
    if content is None or not headers:
        raise MissingRequirement(f"no kernels ship for DeepGEMM {toolchain.versions.deep_gemm}")
    compiler = toolchain.cuda.compiler
    return tuple(_kernel(content, number, headers[0], compiler) for number in range(len(content["kernels"])))


def target_name(target: Target) -> str:
    """What DeepGEMM's choice of a kernel depends on."""
    return f"{target.compute_capability}-{target.num_sms}"


def shipped_content(plans: Iterable[Plan], compiler: Compiler) -> dict[str, Any]:
    """The content of the file for one stack.

    Args:
        plans: of any targets, made on this stack.
        compiler: the nvcc that they were made with.
    """
    commands, templates, kernels = _Numbered(), _Numbered(), _Numbered()
    entries: dict[str, dict[str, list[list[int]]]] = {}
    headers: set[str] = set()
    for plan in plans:
        section = SourcesSection.of_plan(plan, compiler)
        headers |= section.directories.keys()
        numbers = {}
        for name, each in section.kernels.items():
            kernel = plan.kernels[name]
            listed = [section.directories[one] for one in each.headers if one != TOOLKIT]
            if reason_to_refuse(each.source, each.flags, listed):
                continue  # the dry run finds it, as it finds what is not known
            reference = _reference(each.source)
            command = commands.number([list(each.flags), [one == TOOLKIT for one in each.headers]])
            template = templates.number(each.source.replace(reference, _MARK))
            numbers[name] = kernels.number([kernel.name, command, template, reference])
        known = entries.setdefault(target_name(plan.target), {})
        for planned in plan.entries:
            spans = known.setdefault(_identity(planned.entry), [])
            for segment in planned.segments:
                known_here = (numbers[name] for name in segment.kernels if name in numbers)
                spans += [[number, segment.start, segment.stop] for number in known_here]
            spans[:] = _joined(spans)
    (digest,) = headers
    return {
        "nvcc": compiler.version,
        "headers": digest,
        "commands": commands.values,
        "templates": templates.values,
        "kernels": kernels.values,
        "entries": entries,
    }


def file_name(deep_gemm: str) -> str:
    """The name of the file for a version of DeepGEMM."""
    return f"kernels-{deep_gemm}.json.gz"


class _Numbered:
    """Different values, numbered in the order in which they come."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[str, int] = {}

    def number(self, value: Any) -> int:
        text = json.dumps(value)
        if text not in self._numbers:
            self._numbers[text] = len(self.values)
            self.values.append(value)
        return self._numbers[text]


def _reference(source: str) -> str:
    parsed = parse_source(source)
    if parsed is None or source.count(parsed.reference.text) != 1:
        raise ValueError(f"not a source of DeepGEMM's form: {source}")
    return parsed.reference.text


def _joined(spans: list[list[int]]) -> list[list[int]]:
    """For each kernel the least and the largest value at which it is launched."""
    found: dict[int, tuple[int, int]] = {}
    for number, start, stop in spans:
        first, last = found.get(number, (start, stop))
        found[number] = (min(first, start), max(last, stop))
    return [[number, *span] for number, span in sorted(found.items())]


def _identity(entry: Entry) -> str:
    """An entry without its range: the same text for the same call site."""
    return f"{entry.kernel_type} {json.dumps(dict(entry.shape), sort_keys=True)}"


def _type(identity: str) -> str:
    """The kernel type of such a text."""
    return identity.partition(" ")[0]


def _numbers(known: Mapping[str, Any], entry: Entry) -> Iterator[int]:
    values = entry.range.values()
    for number, start, stop in known.get(_identity(entry), ()):
        if start <= values[-1] and stop >= values[0]:
            yield number


def _kernel(content: Mapping[str, Any], number: int, headers: Path, compiler: Compiler) -> Kernel:
    name, command_number, template, reference = content["kernels"][number]
    flags, is_toolkit = content["commands"][command_number]
    includes = tuple(compiler.includes[0] if each else headers for each in is_toolkit)
    command = CompilerCommand(tuple(flags), includes)
    source = content["templates"][template].replace(_MARK, reference)
    key = cubin_key(source.encode(), command, compiler, remembered=True)
    return Kernel(name, key, source, command, Path(), _CUBIN, {})


def _takes_flags(compiler: Compiler, target: Target) -> bool:
    """Whether DeepGEMM gives this compiler the flags that ship: it names other architectures to an older one."""
    return target.major < 10 or Version(compiler.version) >= _FAMILY_ARCHITECTURES


def _is_changed(compiler: Compiler, toolchain: Toolchain, environment: Mapping[str, str]) -> bool:
    """Whether something beside the stack changes kernels: then the dry run would confirm none of these."""
    series = series_of(toolchain.versions.deep_gemm)
    changing = (Handling.PLANNED, Handling.IN_KEY)
    variables = any(environment.get(each.name) for each in VARIABLES if each.handling(series) in changing)
    return variables or bool(compiler.profile)


def _read(deep_gemm: str, directory: Any) -> Any:
    return _read_file(_place(directory).joinpath(file_name(deep_gemm)))


def _read_of_series(deep_gemm: str, directory: Any) -> Any:
    """The file of another version of the same series, the newest of them; ``None`` if none ships."""
    names = (each.name for each in _place(directory).iterdir() if each.name.startswith("kernels-"))
    versions = [name.removeprefix("kernels-").removesuffix(".json.gz") for name in names]
    alike = [each for each in versions if series_of(each) is series_of(deep_gemm)]
    return _read(max(alike, key=Version), directory) if alike else None


def _place(directory: Any) -> Any:
    return resources.files(__package__).joinpath("shipped") if directory is None else directory


def _read_file(file: Any) -> Any:
    return json.loads(gzip.decompress(file.read_bytes())) if file.is_file() else None
