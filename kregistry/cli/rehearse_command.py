"""kregistry rehearse"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from kregistry.cli import complete
from kregistry.cli.option_values import make_registry
from kregistry.cli.options import plugin_option
from kregistry.cli.output import echo, say
from kregistry.cli.output_file import check_output, force_option, with_digest, write_or_rescue


@click.command(name="rehearse", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
@click.argument("engine")
@click.option(
    "-t",
    "--target",
    default="h100",
    show_default=True,
    shell_complete=complete.targets,
    help="A target's name or a YAML file.",
)
@click.option("--name", help="The model's name in the manifest (default: from the path of the model).")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the manifest to a file.")
@force_option
@click.option("--diff", "other", type=click.Path(path_type=Path), help="Show the differences from a manifest instead.")
@click.option("--log", type=click.Path(path_type=Path), help="Keep the output of the engine in this file.")
@click.option("--any-version", is_flag=True, help="Try a version of the engine that the patches do not know.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, max=86400, min_open=True),
    default=600,
    show_default=True,
    help="The longest it may take, in seconds.",
)
@plugin_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="-- ENGINE-ARGUMENT...")
def command(
    engine: str,
    target: str,
    name: str | None,
    output: Path | None,
    force: bool,
    other: Path | None,
    log: Path | None,
    any_version: bool,
    timeout: float,
    plugins: tuple[str, ...],
    arguments: tuple[str, ...],
) -> None:
    """Run the installed ENGINE (sglang or vllm) on the stub GPU, and write the manifest of its DeepGEMM calls.

    The engine loads the model's class with dummy weights from its config.json, and serves requests that reach the sizes
    that traffic has. No weights, no tokenizer and no GPU are needed. One process plays rank 0 of all ranks.
    """
    from kregistry.manifest.document import parse_document
    from kregistry.manifest.reader import read_manifest
    from kregistry.manifest.targets import named_target
    from kregistry.rehearsal.differences import differences
    from kregistry.rehearsal.manifest_text import default_name, render
    from kregistry.rehearsal.rehearse import rehearse

    check_output(output, force)
    registry = make_registry(plugins)
    gpu = named_target(target)
    done = rehearse(
        engine,
        gpu,
        arguments,
        any_version=any_version,
        seconds=timeout,
        log=log,
        on_start=lambda text: say(f"rehearsal: {text}"),
    )
    title = name or default_name(arguments)
    words = ["kregistry", "rehearse", engine, "--target", target, *(("--name", name) if name else ()), "--"]
    text = render(done, registry, name=title, command=shlex.join([*words, *_without_paths(arguments)]))
    manifest = read_manifest(parse_document(text, str(output or title)), registry, gpu)
    if other is not None:
        from kregistry.manifest import load_manifest

        before = load_manifest(other, registry, gpu).entries
        lines = [str(each) for each in differences(before, manifest.entries, registry.__getitem__)]
        echo("\n".join(lines) if lines else f"no difference from {other}")
    if output is None and other is None:
        echo(text, nl=False)
    if output is not None:
        write_or_rescue(output, with_digest(text))
    where = f" -> {output}" if output else ""
    replaced = sum(done.findings.replaced.values())
    click.echo(
        f"{len(manifest.entries)} entries from {len(done.findings.forwards)} forwards{where}; {replaced} calls of "
        f"{len(done.findings.replaced)} other kernels were not run (the manifest lists them)",
        err=True,
    )


def _without_paths(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments, with the last part of each path alone."""
    return tuple(Path(word).name if word.startswith(("/", "./", "../", "~")) else word for word in arguments)
