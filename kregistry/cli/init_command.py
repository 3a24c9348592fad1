"""kregistry init"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kregistry.cli import complete
from kregistry.cli.example import EXAMPLE
from kregistry.cli.option_values import make_registry, warn_of_plugins
from kregistry.cli.options import plugin_option
from kregistry.cli.output import echo, escape_controls, say
from kregistry.cli.output_file import check_output, force_option, with_digest, write_or_rescue

if TYPE_CHECKING:
    from kregistry.hf_config.resolve import ModelCalls

#: ``deepseek-ai/DeepSeek-V3``
_NAME_ON_A_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


@click.command(name="init")
@click.option(
    "--example",
    is_flag=True,
    help="Write a small manifest to start from, in place of a model's: it takes only -o and --force.",
)
@click.option("--config", type=click.Path(path_type=Path), help="The model's config.json; needed.")
@click.option("--engine", help="sglang or vllm; needed.")
@click.option(
    "-t",
    "--target",
    default="h100",
    show_default=True,
    shell_complete=complete.targets,
    help="A target's name, 'detect', or a YAML file.",
)
@click.option(
    "--tp",
    "--tp-size",
    "--tensor-parallel-size",
    "tp",
    type=int,
    default=1,
    show_default=True,
    help="Tensor parallel size.",
)
@click.option("--ep", "--ep-size", "ep", type=int, help="Expert parallel size (default: the engine's).")
@click.option(
    "--dp",
    "--dp-size",
    "--data-parallel-size",
    "dp",
    type=int,
    default=1,
    show_default=True,
    help="sglang: data-parallel attention inside --tp; vllm: data parallel size.",
)
@click.option("--moe-a2a-backend", "a2a", default="none", show_default=True, help="All-to-all backend, e.g. deepep.")
@click.option(
    "--moe-runner",
    "--moe-runner-backend",
    "moe_runner",
    default="auto",
    show_default=True,
    help="MoE backend, e.g. deep_gemm.",
)
@click.option("--moe-dense-tp-size", "moe_dense_tp", type=int, help="sglang: ranks that share a dense MLP.")
@click.option(
    "--shared-expert-fusion",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="sglang: compute the shared expert as a routed one.",
)
@click.option(
    "--redundant-experts", type=int, default=0, help="Redundant experts of the load balancer, over all ranks."
)
@click.option("--chunked-prefill-size", "chunked_prefill", type=int, help="sglang: the same option; -1: not chunked.")
@click.option("--max-batched-tokens", type=int, help="vllm: --max-num-batched-tokens.")
@click.option(
    "--max-requests",
    type=int,
    help="Requests of a decode step (sglang: --cuda-graph-max-bs-decode; vllm: --max-num-seqs).",
)
@click.option(
    "--speculative-tokens",
    type=int,
    help="sglang: --speculative-num-draft-tokens; vllm: num_speculative_tokens of --speculative-config.",
)
@click.option("--two-batch-overlap", is_flag=True, help="sglang: --enable-two-batch-overlap; vllm: --enable-dbo.")
@click.option("--single-batch-overlap", is_flag=True, help="sglang: --enable-single-batch-overlap.")
@click.option("--eplb", is_flag=True, help="The expert load balancer runs, also without redundant experts.")
@click.option(
    "--pp",
    "--pp-size",
    "--pipeline-parallel-size",
    "pp",
    type=int,
    default=1,
    show_default=True,
    help="Pipeline stages.",
)
@click.option(
    "--cp",
    type=int,
    default=1,
    show_default=True,
    help="sglang: --attn-cp-size, inside --tp; vllm: --prefill-context-parallel-size.",
)
@click.option("--max-dispatch-tokens", type=int, help="Tokens a rank dispatches in DeepEP's low-latency mode.")
@click.option(
    "--stop", "stops", multiple=True, metavar="WHAT=N", help="Last value of the range of a label or kernel type."
)
@click.option("--name", help="The model's name in the manifest (default: from the path of the config).")
@click.option("--explain", is_flag=True, help="Show what happens to each layer, and why, instead of the manifest.")
@click.option("--diff", "other", type=click.Path(path_type=Path), help="Show the differences from another manifest.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the manifest to a file.")
@force_option
@plugin_option
def command(
    example: bool,
    config: Path | None,
    engine: str | None,
    target: str,
    stops: tuple[str, ...],
    name: str | None,
    explain: bool,
    other: Path | None,
    output: Path | None,
    force: bool,
    plugins: tuple[str, ...],
    **setting: object,
) -> None:
    """Write the manifest of a model from its config.json and the options of its engine."""
    from kregistry.errors import InputError, quoted
    from kregistry.hf_config.compare import compare
    from kregistry.hf_config.config import read_config
    from kregistry.hf_config.deployment import Deployment
    from kregistry.hf_config.installed_families import installed_families
    from kregistry.hf_config.manifest_text import parse, refuse_unusable, render
    from kregistry.hf_config.resolve import model_calls
    from kregistry.manifest import load_manifest, named_target

    check_output(output, force)
    if output is not None and str(output) == "-":
        output = None
    if example:
        return _write_example(output)
    if config is None or engine is None:
        missing = " and ".join(name for name, value in (("--config", config), ("--engine", engine)) if value is None)
        raise InputError(
            f"init needs {missing}",
            "kregistry init --config config.json --engine sglang reads the config.json of a model; "
            "kregistry init --example -o kernels.yaml writes a small manifest to start from",
        )
    config = _config_file(config)
    registry = make_registry(plugins)
    deployment = Deployment(engine, named_target(target), **setting)  # type: ignore[arg-type]
    installed = installed_families()
    warn_of_plugins(installed.broken)
    calls = model_calls(read_config(config), deployment, registry, installed.families)
    for note in calls.engine.notes:
        say(f"note: {note}")
    if explain:
        print_explanation(calls)
        refuse_unusable(calls)
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise InputError(f"--name: expected letters, digits, '.', '_' and '-', got {quoted(name)}")
    title = name or default_name(config)
    text = render(calls, registry, name=title, command=_command_line(config), stops=_stops(stops))
    manifest = parse(text, registry, str(output or title), deployment.target)
    if output is not None:
        write_or_rescue(output, with_digest(text))
        say(f"{output}: {len(manifest.entries)} entries")
        _summarise(calls)
    if other is not None:
        lines = list(compare(load_manifest(other, registry, deployment.target).entries, manifest.entries))
        echo("\n".join(lines) if lines else f"no difference from {other}")
    if output is None and other is None and not explain:
        echo(text, nl=False)
        _summarise(calls)


def _config_file(config: Path) -> Path:
    """The file that --config names: a directory of a model stands for the config.json in it.

    Raises:
        InputError: it is neither.
    """
    from kregistry.errors import InputError

    try:
        is_directory, is_there = config.is_dir(), config.exists()
    except (OSError, ValueError):  # whoever reads the file says so
        return config
    if is_directory:
        if not (config / "config.json").is_file():
            raise InputError(f"--config {config}: a directory without a config.json", "name the model's config.json")
        return config / "config.json"
    if not is_there and _NAME_ON_A_HUB.fullmatch(str(config)) and config.suffix != ".json":
        raise InputError(
            f"--config {config}: No such file or directory",
            f"init downloads nothing: `hf download {config} config.json` does, and prints the path for --config",
        )
    return config


def _write_example(output: Path | None) -> None:
    """
    Raises:
        InputError: other options are given, which an example does not follow.
        StorageError: the file cannot be written.
    """
    from kregistry.errors import InputError

    context = click.get_current_context()
    others = [
        _spelling(each)
        for each in context.command.params
        if each.name not in ("example", "output", "force")
        and context.get_parameter_source(each.name or "") is click.core.ParameterSource.COMMANDLINE
    ]
    if others:
        raise InputError(
            f"--example is the same manifest for every model: {', '.join(others)} would change nothing",
            "leave --example out to write the manifest of a model",
        )
    if output is None:
        echo(EXAMPLE, nl=False)
        return
    write_or_rescue(output, with_digest(EXAMPLE))
    say(f"{output}: an example; kregistry check {shlex.quote(str(output))} reports mistakes")


def default_name(config: Path) -> str:
    """``deepseek-v3.json`` -> ``deepseek-v3``; ``DeepSeek-V3/config.json`` -> ``deepseek-v3``."""
    stem = config.absolute().parent.name if config.stem == "config" else config.stem
    return re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-.") or "model"


def print_explanation(calls: ModelCalls) -> None:
    """Print a table of all layers: shape, verdict, and the reason or the rule of the range."""
    from kregistry.cli.tables import print_table
    from kregistry.hf_config.call_site import LayerVerdict

    rows = [
        (
            site.label,
            site.kernel_type,
            " ".join(f"{key}={value}" for key, value in site.shape.items()),
            site.verdict.value,
            f"{site.rows.start or 1}..{site.rows.stop}: {site.rows.rule}"
            if site.verdict is LayerVerdict.DEEP_GEMM and site.rows
            else site.reason,
        )
        for site in calls.sites
    ]
    print_table(("layer", "kernel type", "~shape", "verdict", "~range or reason"), rows)


def _summarise(calls: ModelCalls) -> None:
    from kregistry.hf_config.call_site import LayerVerdict

    counts = {verdict: len(calls.with_verdict(verdict)) for verdict in LayerVerdict if calls.with_verdict(verdict)}
    words = "".join(f"\n  {verdict.of(count)}" for verdict, count in counts.items())
    say(f"{len(calls.sites)} call sites (--explain shows each):{words}")


def _stops(texts: tuple[str, ...]) -> dict[str, int]:
    from kregistry.errors import InputError, quoted

    stops: dict[str, int] = {}
    for text in texts:
        what, equals, number = text.rpartition("=")
        if not (equals and what and number.isascii() and number.isdecimal() and int(number) >= 1):
            raise InputError(
                f"--stop: expected WHAT=N, got {quoted(text)}", "e.g. --stop m_grouped_fp8_gemm_nt_masked=4096"
            )
        stops[what] = int(number)
    return stops


def _spelling(option: click.Parameter) -> str:
    """``--tp``: kregistry's own spelling, which comes before those of the engines."""
    return next(each for each in option.opts if each.startswith("--"))


def _command_line(config: Path) -> str:
    """The command line without output options and without paths, except for the name of the config."""
    context = click.get_current_context()
    words = ["kregistry", "init", "--config", config.name]
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
        if not given or parameter.name in ("config", "explain", "other", "output", "force", "plugins"):
            continue
        value = context.params[parameter.name or ""]
        option = _spelling(parameter)
        if value is True:
            words.append(option)
            continue
        for each in value if isinstance(value, tuple) else (value,):
            words += [option, str(each)]
    return escape_controls(shlex.join(words))
