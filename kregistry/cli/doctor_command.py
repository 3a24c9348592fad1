"""kregistry doctor"""

from __future__ import annotations

import platform
from collections.abc import Callable

import click
from attrs import frozen

from kregistry.cli.options import json_option, make_registry, print_json
from kregistry.cli.output import echo
from kregistry.errors import KregistryError, MissingRequirement


@frozen
class Finding:
    """The result of one check: its subject, what was found, and a hint how to fix it."""

    subject: str
    found: str
    ok: bool = True
    hint: str = ""


def _check(subject: str, find: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, find())
    except KregistryError as error:
        return Finding(subject, error.message, False, error.hint)


@click.command(name="doctor")
@json_option
def command(as_json: bool) -> None:
    """Check what planning and building need on this machine; exit 3 if something is missing."""
    findings = all_findings()
    if as_json:
        print_json([{"subject": f.subject, "found": f.found, "ok": f.ok, "hint": f.hint} for f in findings])
    else:
        for finding in findings:
            mark = click.style("ok  ", fg="green") if finding.ok else click.style("FAIL", fg="red")
            echo(f" {finding.subject}: {finding.found}", mark=mark)
            if finding.hint:
                echo(f"     hint: {finding.hint}")
    missing = [finding.subject for finding in findings if not finding.ok]
    if missing:
        raise MissingRequirement(f"failed checks: {', '.join(missing)}")


def all_findings() -> list[Finding]:
    """Check everything that planning and building need, in the order of use."""
    from importlib.metadata import version

    from kregistry import toolchain
    from kregistry.hf_config.installed_families import installed_families
    from kregistry.store import Store

    registry = make_registry(())
    broken = (*registry.broken, *installed_families().broken)
    findings = [
        Finding("kregistry", f"{version('kregistry')} on Python {platform.python_version()}"),
        Finding("plugins", ", ".join(map(str, registry.providers)) or "none", bool(registry.providers)),
        *(Finding("broken plugin", error.message, False, error.hint) for error in broken),
        _check("torch", toolchain.torch_version),
        _check("DeepGEMM", toolchain.require_deep_gemm),
        _check("CUDA toolkit", lambda: _toolkit(toolchain.find_cuda_toolkit())),
        _check("C compiler", toolchain.find_c_compiler),
        Finding("store", str(Store.default().directory)),
    ]
    if all(finding.ok for finding in findings):
        findings.append(_check("stub GPU", _try_stub))
    return findings


def _toolkit(toolkit: object) -> str:
    from kregistry.toolchain import CudaToolkit

    assert isinstance(toolkit, CudaToolkit)
    return f"nvcc {toolkit.version} in {toolkit.home} ({toolkit.found_by})"


def _try_stub() -> str:
    """Load torch and DeepGEMM on the stub GPU, in another process."""
    from kregistry.stub.library import default_stub_directory
    from kregistry.stub.pool import check_stub
    from kregistry.target import get_target
    from kregistry.toolchain import find_toolchain

    target = get_target("h100")
    check_stub(find_toolchain(), target, default_stub_directory())
    return f"torch and DeepGEMM load on the stub {target.name}"
