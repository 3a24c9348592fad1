"""The manifest of a start: the formulas of ``kregistry init``, remembered calls, and ``KREGISTRY_MANIFEST``."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

from attrs import evolve, fields

from kregistry.errors import KregistryError, shorten
from kregistry.hf_config.config import parse_config
from kregistry.hf_config.deployment import Deployment
from kregistry.hf_config.installed_families import installed_families
from kregistry.hf_config.manifest_text import parse, render
from kregistry.hf_config.resolve import model_calls
from kregistry.integrations.remembered_calls import as_data, model_key, remembered
from kregistry.integrations.start_folder import Request
from kregistry.integrations.switches import one_line
from kregistry.manifest import Entry, Manifest, load_manifest
from kregistry.manifest.writer import dump_manifest, flow
from kregistry.registry import Registry
from kregistry.store import Store
from kregistry.target import Target

log = logging.getLogger("kregistry.integrations")

_LONGEST_LINE = 500
#: Kernel types of vLLM's experts whose rows lie one group after the other.
_CONTIGUOUS_EXPERTS = ("m_grouped_fp8_gemm_nt_contiguous", "m_grouped_fp8_fp4_gemm_nt_contiguous")


def manifest_for(
    request: Request, registry: Registry, store: Store, target: Target, unused: Callable[[str], None] = log.warning
) -> Manifest:
    """Everything that is known about the calls of a model before its first forward. May have no entry.

    Args:
        unused: called with a line for each source that fails (an architecture without formulas, a broken file); the
            others are used.
    """
    entries: list[Entry] = []
    providers: Mapping[str, str] = {}
    named = os.environ.get("KREGISTRY_MANIFEST")
    if named:
        wanted = os.environ.get("KREGISTRY_MODEL")
        try:
            manifest = load_manifest(named, registry, target).select([wanted] if wanted else [])
        except KregistryError as error:
            unused(f"KREGISTRY_MANIFEST is not used: {shorten(one_line(error), _LONGEST_LINE)}")
        else:
            entries += manifest.entries
            providers = manifest.providers
    chosen = registry.choosing(providers)
    if request.automatic:
        try:
            entries += _by_formulas(request, chosen, target)
        except KregistryError as error:
            unused(f"no manifest for {request.model} from its config: {shorten(error.message, _LONGEST_LINE)}")
    for path in remembered(store, model_key(request)):
        try:
            entries += load_manifest(path, chosen, target).entries
        except KregistryError as error:
            unused(f"a remembered call is not used: {shorten(one_line(error), _LONGEST_LINE)}")
    return Manifest(request.model, target, (request.model,), tuple(_merged(entries, request.model)), providers)


def _by_formulas(request: Request, registry: Registry, target: Target) -> Iterator[Entry]:
    known = {attribute.name for attribute in fields(Deployment)}
    options = {name: value for name, value in request.deployment.items() if name in known}
    deployment = Deployment(request.engine, target, **options)
    calls = model_calls(parse_config(request.config), deployment, registry, installed_families().families)
    for note in calls.engine.notes:
        log.info("note: %s", note)
    text = render(calls, registry, name=request.model)
    for entry in parse(text, registry, request.model, target).entries:
        yield _as_the_engine(_as_far_as_the_engine(entry, request), request, registry)


def _as_the_engine(entry: Entry, request: Request, registry: Registry) -> Entry:
    """An entry as the installed version has it: where it starts, and the layout of the rows of experts."""
    span, scales = entry.range, entry.shape.get("scales")
    if entry.kernel_type == "fp8_gemm_nt" and 0 < request.first_rows < span.start:
        return evolve(entry, range=evolve(span, start=request.first_rows))
    if request.engine == "vllm" and entry.kernel_type in _CONTIGUOUS_EXPERTS:
        # FP4 weights have no dimension for their scale factors, which are UE8M0.
        shape = {**entry.shape.shown(), "use_psum_layout": (scales or "ue8m0") in request.psum_scales}
        return evolve(entry, shape=registry[entry.kernel_type].resolve(shape, entry.shape.target))
    return entry


def _as_far_as_the_engine(entry: Entry, request: Request) -> Entry:
    """An entry that ends no earlier than the engine's own warm-up of the same call site would."""
    span = entry.range
    if entry.kernel_type not in request.warmed or span.stop >= request.largest:
        return entry
    last = span.start + (request.largest - span.start) // span.step * span.step
    return evolve(entry, range=evolve(span, stop=max(span.stop, last)))


def _merged(entries: Iterable[Entry], model: str) -> Iterator[Entry]:
    """Each call site once, over the union of its ranges."""
    found: dict[object, Entry] = {}
    for entry in entries:
        key = (entry.shape, entry.range.name, entry.range.step)
        known = found.get(key)
        span = entry.range
        if known is not None:
            span = evolve(span, start=min(span.start, known.range.start), stop=max(span.stop, known.range.stop))
        found[key] = evolve(entry, model=model, label=known.label if known else entry.label, range=span)
    return iter(found.values())


def manifest_text(manifest: Manifest) -> str:
    """A manifest as a file. It names no target: who reads it gives one."""
    kernels = [as_data(entry) for entry in manifest.entries]
    text = dump_manifest({"version": 1, "target": "detect", "models": {manifest.file: {"kernels": kernels}}})
    return text + (f"providers: {flow(manifest.providers)}\n" if manifest.providers else "")
