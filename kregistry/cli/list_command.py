"""kregistry list"""

from __future__ import annotations

from typing import Any

import click

from kregistry.cli import complete
from kregistry.cli.option_values import make_registry
from kregistry.cli.options import json_option, plugin_option, print_json
from kregistry.cli.output import echo
from kregistry.kernel_type.display import manifest_value
from kregistry.registry import Registration, Registry


@click.command(name="list")
@click.argument("name", required=False, shell_complete=complete.kernel_types)
@plugin_option
@json_option
def command(name: str | None, plugins: tuple[str, ...], as_json: bool) -> None:
    """Show all kernel types, or the dimensions of one NAME."""
    registry = make_registry(plugins)
    chosen = [registry.registration(name)] if name else list(registry.registrations())
    if as_json:
        print_json({"kernel_types": [_json(each) for each in chosen], "broken": [e.message for e in registry.broken]})
    elif name:
        _print_one(chosen[0])
    else:
        _print_all(registry)


def _print_all(registry: Registry) -> None:
    from kregistry.cli.tables import print_table

    rows = [
        (each.kernel_type.name, each.kernel_type.run_dimension.name, each.provider, each.kernel_type.summary)
        for each in registry.registrations()
    ]
    print_table(("kernel type", "varies with", "~provided by", "~summary"), rows)


def _print_one(registration: Registration) -> None:
    from kregistry.cli.tables import print_table

    kernel_type = registration.kernel_type
    echo(f"{kernel_type.name}: {kernel_type.summary}")
    echo(f"provided by {registration.provider}")
    echo(f"calls deep_gemm.{' or '.join(kernel_type.function_names)}")
    for support in kernel_type.archs:
        version = "no version of DeepGEMM" if support.deep_gemm == "none" else f"DeepGEMM {support.deep_gemm}"
        echo(f"{support.arch}: {version if support.deep_gemm else 'every DeepGEMM'} {support.reason}".rstrip())
    run = kernel_type.run_dimension
    rows = [
        (
            each.name,
            each.expectation(),
            "required" if each.required else _default(each.default),
            each.unit,
            each.meaning,
        )
        for each in kernel_type.all_dimensions
    ]
    rows.append((run.name, "a range {start, stop, step}", f"{run.start}.. step {run.step}", run.unit, run.meaning))
    print_table(("dimension", "~allowed", "default", "unit", "~meaning"), rows)


def _default(value: object) -> str:
    if callable(value):
        return "by target"
    return str(manifest_value(value))


def _json(registration: Registration) -> dict[str, Any]:
    kernel_type, provider = registration.kernel_type, registration.provider
    return {
        "name": kernel_type.name,
        "summary": kernel_type.summary,
        "plugin": provider.plugin,
        "distribution": provider.distribution,
        "version": provider.version,
        "functions": list(kernel_type.function_names),
        "archs": {each.arch: {"deep_gemm": each.deep_gemm, "reason": each.reason} for each in kernel_type.archs},
        "empty_input": kernel_type.empty_input.value,
        "run_dimension": kernel_type.run_dimension.name,
        "dimensions": {
            each.name: {
                "meaning": each.meaning,
                "unit": each.unit,
                "required": each.required,
                "default": None if each.required else _default(each.default),
                "allowed": each.expectation(),
            }
            for each in kernel_type.all_dimensions
        },
    }
