"""Writes a rehearsal as a manifest: YAML with the places of the engine in comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from kregistry.errors import InputError, ShapeError
from kregistry.hf_config.manifest_text import target_lines
from kregistry.kernel_type.display import manifest_value
from kregistry.manifest.reader import FORMAT_VERSION
from kregistry.manifest.writer import flow
from kregistry.registry import Registry
from kregistry.rehearsal.entries import RehearsedEntry, entries
from kregistry.rehearsal.policies import with_policies
from kregistry.rehearsal.rehearse import Rehearsal
from kregistry.target import Target

_WIDTH = 118


def rehearsed_entries(rehearsal: Rehearsal, registry: Registry) -> list[RehearsedEntry]:
    """The entries of a rehearsal.

    Raises:
        InputError: the engine has made no DeepGEMM call.
    """
    findings = rehearsal.findings
    calls = with_policies(findings.calls, registry.__getitem__, rehearsal.target)
    found = entries(calls, registry.__getitem__, findings.facts) if findings.facts else []
    if not found:
        raise InputError(
            f"{rehearsal.engine} {rehearsal.version} makes no DeepGEMM call with this model and setting on "
            f"{rehearsal.target.name}, so there is no manifest to write",
            "kregistry init --explain shows what happens to each layer",
        )
    return found


def render(rehearsal: Rehearsal, registry: Registry, *, name: str, command: str = "") -> str:
    """The text of the manifest.

    Raises:
        InputError: the engine has made no DeepGEMM call.
    """
    found = rehearsed_entries(rehearsal, registry)
    lines = [
        *_head(rehearsal, command),
        "",
        f"version: {FORMAT_VERSION}",
        *target_lines(rehearsal.target),
        f"engine: {rehearsal.engine}",
        "",
    ]
    lines += ["models:", f"  {flow(name)}:", f"    description: {flow(_description(rehearsal))}", "    kernels:"]
    for entry in found:
        lines += _entry(entry, rehearsal.target)
    return "\n".join(lines) + "\n"


def _description(rehearsal: Rehearsal) -> str:
    facts = rehearsal.findings.facts
    architecture = facts.architecture if facts else "model"
    ranks = f", {facts.ranks} ranks" if facts and facts.ranks > 1 else ""
    return f"{architecture}, {rehearsal.engine} {rehearsal.version}{ranks}, {rehearsal.target.name}, rehearsed"


def _head(rehearsal: Rehearsal, command: str) -> Iterator[str]:
    findings = rehearsal.findings
    if command:
        set_before = "".join(f"{name}={value} " for name, value in rehearsal.variables.items())
        yield from _comment(f"Written by: {set_before}{command}")
    yield from _comment(f"Rehearsed: {_description(rehearsal).removesuffix(', rehearsed')}, on the stub GPU")
    for note in rehearsal.notes:
        yield from _comment(f"Note: {note}")
    for unread in findings.unread:
        reason = textwrap.shorten(unread.reason, 400, placeholder=" ...")
        yield from _comment(f"Note: a call of {unread.function} at {unread.site} fits no kernel type: {reason}")
    sizes = ", ".join(
        f"{each.step} {each.tokens}" + (f" ({each.requests} requests)" if 1 < each.requests < each.tokens else "")
        for each in findings.forwards
    )
    yield from _comment(f"Forwards (tokens on this rank): {sizes}")
    if findings.replaced:
        yield "# Not run, because the stub GPU replaces it (calls):"
        counts = ", ".join(f"{what} ({count})" for what, count in findings.replaced.items())
        yield from _comment(f"  {counts}", "#   ")


def _entry(entry: RehearsedEntry, target: Target) -> Iterator[str]:
    run = entry.kernel_type.run_dimension
    span = {"start": entry.start, "stop": entry.stop, **({"step": entry.step} if entry.step > 1 else {})}
    if run.step > 1 and entry.step == 1:
        span["step"] = 1
    sites = ", ".join(entry.sites[:3])
    modules = ", ".join(entry.modules[:3])
    yield from _comment(f"{sites}{f': {modules}' if modules else ''}", indent=6)
    yield from _comment(entry.rule, indent=6)
    yield f"      - type: {entry.kernel_type.name}"
    yield f"        label: {flow(entry.label)}"
    yield f"        shape: {flow(_shape(entry, target))}"
    yield f"        {run.name}: {flow(span)}"


def _shape(entry: RehearsedEntry, target: Target) -> dict[str, object]:
    """The dimensions, without those that are at their default on this target."""
    shown: dict[str, object] = dict(entry.shape)
    whole = entry.kernel_type.resolve(entry.shape, target)
    for name in entry.shape:
        rest = {key: value for key, value in shown.items() if key != name}
        try:
            if entry.kernel_type.resolve(rest, target) == whole:
                shown = rest
        except ShapeError:
            continue  # it has no default
    return {name: manifest_value(value) for name, value in shown.items()}


def _comment(text: str, continuation: str = "#   ", indent: int = 0) -> list[str]:
    lead = " " * (len(text) - len(text.lstrip(" ")))
    clean = " ".join("".join(letter if letter.isprintable() else "?" for letter in text).split())
    pad = " " * indent
    return textwrap.wrap(
        clean,
        _WIDTH,
        initial_indent=f"{pad}# {lead}",
        subsequent_indent=pad + continuation,
        break_long_words=False,
        break_on_hyphens=False,
    )


def default_name(arguments: tuple[str, ...]) -> str:
    """The name of the model's folder, from ``--model-path DIR`` or ``--model DIR``; or else ``model``."""
    for index, word in enumerate(arguments):
        option, equals, value = word.partition("=")
        if option in ("--model-path", "--model"):
            path = value if equals else (arguments[index + 1] if index + 1 < len(arguments) else "")
            clean = "".join(
                letter if letter.isalnum() or letter in "._-" else "-" for letter in Path(path).name.lower()
            )
            return clean.strip("-.") or "model"
    return "model"
