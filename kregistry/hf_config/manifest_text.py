"""Writes the calls of a model as a manifest: commented YAML in a stable order."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from attrs import asdict

from kregistry.errors import InputError, quoted
from kregistry.hf_config.call_site import CallSite, LayerVerdict, Rows
from kregistry.hf_config.resolve import ModelCalls
from kregistry.manifest.document import parse_document
from kregistry.manifest.model import Manifest
from kregistry.manifest.reader import FORMAT_VERSION, read_manifest
from kregistry.manifest.writer import flow
from kregistry.registry import Registry
from kregistry.target import TARGETS, Target

_WIDTH = 118
#: Verdicts of layers that are left out, in the order of the list.
LEFT_OUT = (
    LayerVerdict.NO_KERNEL_TYPE,
    LayerVerdict.OTHER_BACKEND,
    LayerVerdict.FUSED,
    LayerVerdict.NOT_REACHED,
    LayerVerdict.NOT_QUANTIZED,
)


def refuse_unusable(calls: ModelCalls) -> None:
    """
    Raises:
        InputError: the engine does not load the model at this setting, or no layer goes to DeepGEMM.
    """
    where = f"{calls.config.architecture} at {setting(calls)}"
    refused = calls.with_verdict(LayerVerdict.DOES_NOT_LOAD)
    if refused:
        reasons: dict[str, list[str]] = {}
        for site in refused:
            reasons.setdefault(site.reason, []).append(site.label)
        lines = "".join(f"\n  {', '.join(labels)}: {reason}" for reason, labels in reasons.items())
        raise InputError(
            f"{where} does not load:{lines}",
            "choose parallel sizes that divide the model's dimensions, or use expert parallelism",
        )
    if not calls.with_verdict(LayerVerdict.DEEP_GEMM):
        left = [site for verdict in LEFT_OUT for site in calls.with_verdict(verdict) if site.kernel_type]
        lines = "".join(f"\n  {reason}" for reason in dict.fromkeys(site.reason for site in left))
        raise InputError(f"{where}: no layer goes to DeepGEMM, so there is no manifest to write:{lines}")


def setting(calls: ModelCalls) -> str:
    """The setting as text, after the engine's defaults: ``"sglang 0.5.23, tp 8, dp 8, ep 8, deepep, h100"``."""
    given, layout = calls.deployment, calls.engine.layout
    words = [f"{calls.engine.name} {calls.engine.version}", f"tp {given.tp}"]
    words += [f"dp {given.dp}"] if given.dp > 1 else []
    words += [f"ep {layout.ep}"] if layout.ep > 1 else []
    words += [f"moe-dense-tp-size {given.moe_dense_tp}"] if given.moe_dense_tp is not None else []
    words += [given.a2a] if given.a2a != "none" else []
    words += [f"MoE runner {given.moe_runner}"] if given.moe_runner != "auto" else []
    words += [f"speculative tokens {given.speculative_tokens}"] if given.speculative_tokens is not None else []
    words += [f"pp {given.pp}"] if given.pp > 1 else []
    words += [f"cp {given.cp}"] if given.cp > 1 else []
    for name, flag in (
        ("two-batch overlap", given.two_batch_overlap),
        ("single-batch overlap", given.single_batch_overlap),
        ("EPLB", given.eplb),
    ):
        words += [name] if flag else []
    return ", ".join((*words, given.target.name))


def render(
    calls: ModelCalls,
    registry: Registry,
    *,
    name: str,
    command: str = "",
    stops: Mapping[str, int] = {},
) -> str:
    """The text of a manifest.

    Args:
        calls: the calls to write.
        registry: the kernel types that are installed.
        name: the name of the model in the manifest.
        command: the command line, for the comment in the first line.
        stops: label or kernel type -> last value of the range, in place of the engine's rule.

    Raises:
        InputError: the setting does not load, leaves nothing to write, or a stop names no entry.
    """
    refuse_unusable(calls)
    lines = [*_head(calls, command), "", f"version: {FORMAT_VERSION}", *target_lines(calls.deployment.target)]
    lines += [f"engine: {calls.engine.name}", ""]
    lines += ["models:", f"  {flow(name)}:"]
    lines += [f"    description: {flow(f'{calls.config.architecture}, {setting(calls)}')}", "    kernels:"]
    used: set[str] = set()
    for site in calls.with_verdict(LayerVerdict.DEEP_GEMM):
        key = next((key for key in (site.label, site.kernel_type) if key in stops), None)
        used.update((site.label, site.kernel_type))
        lines += _entry(site, registry, None if key is None else stops[key])
    unknown = [key for key in stops if key not in used]
    if unknown:
        raise InputError(
            f"--stop: no entry has the label or kernel type {quoted(unknown[0])}",
            f"known: {', '.join(sorted(used))}",
        )
    return "\n".join(lines) + "\n"


def parse(text: str, registry: Registry, file: str, target: Target) -> Manifest:
    """Read a rendered manifest, with the checks of ``kregistry check``."""
    return read_manifest(parse_document(text, file), registry, target)


def _head(calls: ModelCalls, command: str) -> Iterator[str]:
    family, layout = calls.family, calls.engine.layout.symbols()
    if command:
        yield from _comment(f"Written by: {command}")
    yield from _comment(
        f"Model: {calls.config.architecture} (family {family.name}), {calls.config.quantization.scheme}"
    )
    yield from _comment(f"Setting: {setting(calls)}")
    for note in calls.engine.notes:
        yield from _comment(f"Note: {note}")
    model = ", ".join(f"{symbol.meaning()} = {calls.values[symbol.name]}" for symbol in family.symbols)
    yield from _comment(f"Symbols of the model: {model}")
    yield from _comment(f"Symbols of the layout: {', '.join(f'{key} = {value}' for key, value in layout.items())}")
    if family.source:
        yield from _comment(f"Formulas: {family.source}")
    left = [site for verdict in LEFT_OUT for site in calls.with_verdict(verdict)]
    if left:
        yield "# Left out:"
    for site in left:
        shape = f" [{site.kernel_type} {flow(site.shape)}]" if site.kernel_type else ""
        yield from _comment(f"  {site.label}{shape}: {site.reason}", "#     ")


def _entry(site: CallSite, registry: Registry, stop: int | None) -> Iterator[str]:
    run = registry[site.kernel_type].run_dimension
    rows = site.rows
    assert rows is not None, "a layer that goes to DeepGEMM has a range"
    if stop is not None:
        rows = Rows(stop, "--stop", rows.start, rows.step)
    span = {"start": rows.start or run.start, "stop": rows.stop, "step": rows.step or run.step}
    if span["step"] == 1:
        del span["step"]
    yield from _comment(site.role, indent=6)
    yield from _comment(site.formula, indent=6)
    yield from _comment(f"{run.name}: {rows.rule}{f'; {site.reason}' if site.reason else ''}", indent=6)
    yield f"      - type: {site.kernel_type}"
    yield f"        label: {flow(site.label)}"
    yield f"        shape: {flow(site.shape)}"
    yield f"        {run.name}: {flow(span)}"


def target_lines(target: Target) -> Iterator[str]:
    """The lines that name a target: a known one by its name, another with all its properties."""
    if TARGETS.get(target.name) == target:
        yield f"target: {target.name}"
        return
    yield "target:"
    for key, value in asdict(target).items():
        if key != "source":
            yield f"  {key}: {flow(value)}"


def _comment(text: str, continuation: str = "#   ", indent: int = 0) -> list[str]:
    """Comment lines. Leading blanks are kept, and characters that YAML forbids in comments are removed."""
    lead = " " * (len(text) - len(text.lstrip(" ")))
    clean = "".join(letter if letter.isprintable() else "?" for letter in text)
    pad = " " * indent
    return textwrap.wrap(
        " ".join(clean.split()),
        _WIDTH,
        initial_indent=f"{pad}# {lead}",
        subsequent_indent=pad + continuation,
        break_long_words=False,
        break_on_hyphens=False,
    )
