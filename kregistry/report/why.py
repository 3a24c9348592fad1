"""Why a call uses the kernels that it uses, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kregistry.events.planned import PlannedEntry, Segment, span
from kregistry.kernel_type.display import human_bytes
from kregistry.report.kernel_facts import STATES, KernelFacts


def explain(
    planned: PlannedEntry, m: int | None, facts: Mapping[str, KernelFacts], deep_gemm: str, target: str
) -> Iterator[tuple[str, str]]:
    """Pairs (title, text) about one entry at one value of m."""
    entry, name = planned.entry, planned.entry.range.name
    yield "entry", str(entry)
    if planned.error:
        yield "error", planned.error
        return
    for refusal in planned.refusals:
        if m is not None and refusal.start <= m <= refusal.stop:
            yield name, f"{m}: DeepGEMM refuses {span(refusal.start, refusal.stop)}: {refusal.reason}"
            return
    index = next((at for at, each in enumerate(planned.segments) if m and each.start <= m <= each.stop), None)
    if index is None:
        return
    segment = planned.segments[index]
    yield name, f"{m}, in the segment {span(segment.start, segment.stop)}"
    if not segment.kernels:
        yield "kernel", f"none: {planned.remark() or 'nothing to compile'}"
    for kernel in segment.kernels:
        known = facts[kernel]
        yield "kernel", kernel
        yield "", f"{STATES[known.state]}{f', {known.tier} by the last build' if known.tier else ''}"
        if known.nbytes:
            yield "", f"{human_bytes(known.nbytes)}, compiled in {known.seconds:.1f} s"
            yield "", str(known.place)
        if known.arguments:
            yield "", " ".join(f"{key}={value}" for key, value in known.values().items())
    yield "why", f"the host code of DeepGEMM {deep_gemm} chose it when it ran on the stub {target} with {name} = {m}"
    for where, other in (("below", index - 1), ("above", index + 1)):
        if 0 <= other < len(planned.segments):
            yield "", _neighbour(where, name, segment, planned.segments[other], facts)


def _neighbour(where: str, name: str, segment: Segment, other: Segment, facts: Mapping[str, KernelFacts]) -> str:
    changes: list[str] = []
    for here, there in zip(segment.kernels[-1:], other.kernels[-1:]):
        own, its = facts[here].values(), facts[there].values()
        if facts[here].kernel.name != facts[there].kernel.name:
            changes.append(f"the family {facts[there].kernel.name}")
        elif own or its:
            changes += [f"{key}={its[key]} (here {own[key]})" for key in own if key in its and own[key] != its[key]]
        elif here != there:
            changes.append(there)
    words = ", ".join(changes) or "another set of kernels"
    return f"{where} it, at {name} {span(other.start, other.stop)}: {words}"
