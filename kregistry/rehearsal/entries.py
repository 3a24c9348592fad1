"""From calls to entries: one for each place of the model with one shape, with the range that its rule covers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from attrs import field, frozen

from kregistry.kernel_type import KernelType, Value
from kregistry.rehearsal.findings import Facts, RehearsedCall

#: Columns of a weight for each of its scale factors.
_SCALE_COLUMNS = 128
_SCALE_LAYOUTS = (
    "get_mn_major_tma_aligned_packed_ue8m0_tensor",
    "get_mn_major_tma_aligned_tensor",
    "transform_sf_into_required_layout",
)
_LAYER = re.compile(r"\.\d+(?=\.|$)")


@frozen
class RehearsedEntry:
    """One entry of a manifest.

    Attributes:
        kernel_type: the kernel type.
        label: the name of the layer, as ``kregistry init`` has it.
        shape: the dimensions.
        start, stop, step: the range of the run-time dimension.
        rule: how the range was found, as text.
        sites: the engine's files and lines that make the call.
        modules: the modules of the model, with ``*`` for the layer.
        calls: what was seen.
    """

    kernel_type: KernelType
    label: str
    shape: Mapping[str, Value]
    start: int
    stop: int
    step: int
    rule: str
    sites: tuple[str, ...]
    modules: tuple[str, ...]
    calls: tuple[RehearsedCall, ...] = field(repr=False)


def entries(
    calls: Iterable[RehearsedCall], kernel_types: Callable[[str], KernelType], facts: Facts
) -> list[RehearsedEntry]:
    """The entries, in the order in which the model makes the calls.

    Args:
        calls: what was seen.
        kernel_types: gives the kernel type of a name.
        facts: what the engine says of its limits.
    """
    groups: dict[object, list[RehearsedCall]] = {}
    for call in calls:
        sizes = kernel_types(call.kernel_type).buffer_sizes
        shape = tuple(item for item in call.shape.items() if item[0] not in sizes)
        # While weights load, m is the size of a weight: no range follows from it.
        size = call.m if call.step == "load" else 0
        groups.setdefault((call.kernel_type, shape, label(call) if call.step != "load" else "", size), []).append(call)
    found = [_entry(tuple(group), kernel_types(group[0].kernel_type), facts) for group in groups.values()]
    return [entry for entry in found if not any(_covers(other, entry) for other in found)]


def _covers(one: RehearsedEntry, other: RehearsedEntry) -> bool:
    """Whether an entry of serving covers one of loading: the engine has tried a size that it serves."""
    if one.calls[0].step == "load" or other.calls[0].step != "load":
        return False
    same = one.kernel_type is other.kernel_type and one.shape == other.shape
    return same and one.start <= other.start and other.stop <= one.stop


def label(call: RehearsedCall) -> str:
    """The name of the layer: the last part of its module, with the part of the model that it belongs to."""
    name = call.kernel_type
    parts = [part for part in call.module.split(".") if not part.isdigit()]
    last = parts[-1].removesuffix("_with_mqa") if parts else ""
    phase = "masked" if name.endswith("masked") else "contiguous"
    if name in _SCALE_LAYOUTS:
        columns = call.shape.get("k") or _SCALE_COLUMNS * int(call.shape["columns"])  # type: ignore[arg-type]
        return f"{'weight ' if call.step == 'load' else ''}scales, k = {columns}"
    if "mqa_logits" in name:
        phase = "decode" if "paged" in name else "prefill"
        return "indexer schedule" if "metadata" in name else f"indexer logits, {phase}"
    if name.endswith("hc_prenorm_gemm"):  # called by the layer, before each of its two parts
        return "hc_prenorm"
    if name.startswith("m_grouped"):
        return f"experts {call.weight.partition('_')[0] or last} ({phase})"
    if "indexer" in parts:
        return f"indexer {last}"
    if any(part.startswith("shared_expert") for part in parts):
        return f"shared expert {last}"
    if "mlp" in parts:
        return f"dense {last}"
    return last or name


def _entry(calls: tuple[RehearsedCall, ...], kernel_type: KernelType, facts: Facts) -> RehearsedEntry:
    sizes = kernel_type.buffer_sizes & calls[0].shape.keys()
    largest = {name: max(call.shape[name] for call in calls) for name in sizes}  # type: ignore[type-var]
    stop, rule = _stop(calls, kernel_type, facts)
    step = kernel_type.run_dimension.step
    aligned = all(call.m % step == 0 for call in calls)
    return RehearsedEntry(
        kernel_type,
        label(calls[0]) + (", captured decode" if _captured(calls) else ""),
        {**calls[0].shape, **largest},
        min(call.m for call in calls),
        stop,
        step if aligned else 1,
        rule,
        tuple(dict.fromkeys(call.model_site or call.site for call in calls)),
        tuple(dict.fromkeys(_LAYER.sub(".*", call.module) for call in calls if call.module)),
        calls,
    )


def _stop(calls: tuple[RehearsedCall, ...], kernel_type: KernelType, facts: Facts) -> tuple[int, str]:
    """The last run-time value, and the rule behind it as text."""
    name, stop = kernel_type.run_dimension.name, max(call.m for call in calls)
    if calls[0].step == "load":
        return stop, f"{name} = {stop} while the model loads"
    rule, most = _rule(calls, name), facts.warmed.get(kernel_type.name, 0)
    if _captured(calls):
        most = facts.most_captured if _of_requests(calls) else 0
        return max(stop, most), f"{rule}; a captured step has at most {facts.most_captured} requests"
    if _of_requests(calls) and stop < facts.most_requests:
        stop = facts.most_requests
        rule += f"; at most {stop} requests run"
    if stop < most:
        stop = most
        rule += f"; the engine's own warm-up goes to {stop}"
    return stop, rule


def _captured(calls: Iterable[RehearsedCall]) -> bool:
    return all(call.step == "captured decode" for call in calls)


def _of_requests(calls: Iterable[RehearsedCall]) -> bool:
    """Whether the calls are of steps with one token a request, and the largest of each is the number of requests."""
    largest: dict[int, int] = {}
    for call in calls:
        if not call.step.endswith("decode") and call.tokens != call.requests:  # vLLM: a prompt of one token
            return False
        largest[call.requests] = max(call.m, largest.get(call.requests, 0))
    return len(largest) > 1 and all(requests == m for requests, m in largest.items())


def _rule(calls: Iterable[RehearsedCall], name: str) -> str:
    """``"m = tokens of a forward"``, or what was seen at which sizes."""
    calls = tuple(calls)
    if _of_requests(calls):
        return f"{name} = requests of a decode step; seen at {_some(sorted({call.requests for call in calls}))}"
    if all(call.m == call.tokens for call in calls):
        return f"{name} = tokens of a forward; seen at {_some(sorted({call.tokens for call in calls}))}"
    seen = sorted({(call.tokens, call.m) for call in calls})
    ratios = {m / tokens for tokens, m in seen if tokens}
    if len(ratios) == 1 and len(seen) > 1:
        return f"{name} = {ratios.pop():g} x tokens of a forward; seen at {_some([tokens for tokens, _ in seen])}"
    return f"{name} at tokens of a forward: " + ", ".join(f"{m} at {tokens}" for tokens, m in seen[:6])


def _some(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers if len(numbers) < 7 else [*numbers[:3], "...", *numbers[-2:]]))
