"""kregistry doctor"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import frozen

from kregistry.cli.option_values import make_registry
from kregistry.cli.options import json_option, print_json
from kregistry.cli.output import echo
from kregistry.errors import KregistryError, MissingRequirement, ProviderConflictError

if TYPE_CHECKING:
    from kregistry.registry import Registry

#: Seconds of CPU time from which the import of a plugin counts as slow.
_SLOW_IMPORT = 1.0


@frozen
class Diagnosis:
    """The result of one check: its subject, what was found, and a hint how to fix it."""

    subject: str
    found: str
    ok: bool = True
    hint: str = ""


def _check(subject: str, find: Callable[[], str]) -> Diagnosis:
    try:
        return Diagnosis(subject, find())
    except KregistryError as error:
        return Diagnosis(subject, error.message, False, error.hint)


@click.command(name="doctor")
@json_option
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what a bug report needs to a .tar.gz: versions, environment, the last starts; no secrets.",
)
def command(as_json: bool, bundle: Path | None) -> None:
    """Check what planning and building need on this machine; exit 3 if something is missing.

    A table shows what decides kernels: the compiler, each variable that has an influence, and where kernels are kept.
    """
    from kregistry.cli.influences import influences
    from kregistry.cli.tables import print_table

    findings, rows = all_findings(), influences()
    shown = [*findings, *(Diagnosis(row.what, f"{row.value} ({row.why})") for row in rows)]
    content = [{"subject": f.subject, "found": f.found, "ok": f.ok, "hint": f.hint} for f in shown]
    if bundle is not None:
        from kregistry.cli.bug_report import write_bundle
        from kregistry.store import Store

        names = write_bundle(bundle, content, Store.default().directory)
        click.echo(f"{bundle}: {len(names)} files", err=True)
    if as_json:
        print_json(content)
    else:
        for finding in findings:
            mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red")
            echo(f" {finding.subject}: {finding.found}", mark=mark)
            if finding.hint:
                echo(f"     hint: {finding.hint}")
        print_table(("what decides kernels", "value", "~why"), [(row.what, row.value, row.why) for row in rows])
    missing = [finding.subject for finding in findings if not finding.ok]
    if missing:
        raise MissingRequirement(f"failed checks: {', '.join(missing)}")


def all_findings() -> list[Diagnosis]:
    """Check everything that planning and building need, in the order of use."""
    from importlib.metadata import version

    from kregistry import toolchain
    from kregistry.hf_config.installed_families import installed_families
    from kregistry.store import Store

    registry = make_registry(())
    broken = (*registry.broken, *installed_families().broken)
    findings = [
        Diagnosis("kregistry", f"{version('kregistry')} on Python {platform.python_version()}"),
        Diagnosis("plugins", ", ".join(map(str, registry.providers)) or "none", bool(registry.providers)),
        *(Diagnosis("broken plugin", error.message, False, error.hint) for error in broken),
        *_without_entry_points(),
        *_clashes(registry),
        *_slow_imports(registry),
        _check("torch", toolchain.torch_version),
        _check("DeepGEMM", toolchain.require_deep_gemm),
        _check("environment", _environment),
        _check("CUDA toolkit", lambda: _toolkit(toolchain.find_cuda_toolkit())),
        _check("C compiler", toolchain.find_c_compiler),
        Diagnosis("store", str(Store.default().directory)),
    ]
    if all(finding.ok for finding in findings):
        findings.append(_check("stub GPU", _try_stub))
    return findings


def _without_entry_points() -> Iterator[Diagnosis]:
    """A finding for each distribution whose metadata names no plugin, although it needs kregistry."""
    from kregistry.entry_points import without_entry_points
    from kregistry.registry import ENTRY_POINT_GROUP

    for name in without_entry_points(ENTRY_POINT_GROUP):
        hint = "if it has a plugin, install it again: an entry point of the group `kregistry` names it"
        yield Diagnosis("no plugin", f"{name} needs kregistry, and its metadata names no plugin", True, hint)


def _clashes(registry: Registry) -> Iterator[Diagnosis]:
    """A finding for each name that several plugins offer, and none of them was chosen."""
    for name in registry.names():
        try:
            registry.registration(name)
        except ProviderConflictError as error:
            yield Diagnosis("two plugins", error.message, False, error.hint)


def _slow_imports(registry: Registry) -> Iterator[Diagnosis]:
    """A finding for each plugin whose import took long: every command waits for it."""
    from kregistry.entry_points import import_seconds

    for provider in registry.providers:
        seconds = import_seconds.get(provider, 0.0)
        if seconds > _SLOW_IMPORT:
            hint = "import torch and deep_gemm inside functions; python -X importtime shows what takes long"
            yield Diagnosis("slow plugin", f"{provider} takes {seconds:.1f} s of CPU time to import", False, hint)


def _toolkit(toolkit: object) -> str:
    from kregistry.toolchain import CudaToolkit

    assert isinstance(toolkit, CudaToolkit)
    if toolkit.compiler.found_by != toolkit.found_by:
        named = f"nvcc {toolkit.version} at {toolkit.nvcc} ({toolkit.compiler.found_by})"
        return f"{named}, headers in {toolkit.home} ({toolkit.found_by})"
    return f"nvcc {toolkit.version} in {toolkit.home} ({toolkit.found_by})"


def _environment() -> str:
    """Refuse variables under which nothing can be planned or built, and places where DeepGEMM finds no JIT cache."""
    import os

    from kregistry.deep_gemm.cache_layout import check_layout
    from kregistry.deep_gemm.environment import check_environment
    from kregistry.toolchain import installed_series

    check_environment(os.environ, installed_series())
    check_layout(installed_series())
    return "no variable is refused"


def _try_stub() -> str:
    """Load torch and DeepGEMM on the stub GPU, in another process."""
    from kregistry.stub.library import default_stub_directory
    from kregistry.stub.pool import check_stub
    from kregistry.target import get_target
    from kregistry.toolchain import find_toolchain

    target = get_target("h100")
    check_stub(find_toolchain(), target, default_stub_directory())
    return f"torch and DeepGEMM load on the stub {target.name}"
