"""The map from m to kernels as text: blocks for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from kregistry.events.planned import PlannedEntry, span
from kregistry.kernel_type.display import human_bytes
from kregistry.manifest import Range
from kregistry.report.kernel_facts import KernelFacts

#: Neighbouring kernels differ in their block, so that a picture without colours shows each change.
_BLOCKS = "█▓▒░"
#: Colours of a terminal with 256, from dark to light, that are readable on black and on white.
_COLOURS = (26, 32, 38, 73, 107, 136, 166, 133, 97, 62)
_REFUSED, _NOTHING = "x", "·"


class Colours:
    """Colours of kernels: the same in all bars of a picture."""

    def __init__(self, facts: Mapping[str, KernelFacts], *, styled: bool) -> None:
        order = sorted(facts, key=lambda id: (facts[id].kernel.name, facts[id].tile(), id))
        self._numbers = {id: number for number, id in enumerate(order)}
        self._styled = styled

    def paint(self, text: str, kernel: str) -> str:
        """A text in the colour of a kernel; plain where there are no colours."""
        if not self._styled or kernel not in self._numbers:
            return text
        return f"\x1b[38;5;{_COLOURS[self._numbers[kernel] % len(_COLOURS)]}m{text}\x1b[0m"


def axis_line(range: Range, width: int) -> str:
    """Values of m above a bar."""
    line = [" "] * width
    last = -2
    for power in [2**exponent for exponent in _exponents(range)]:
        at, text = _column(range, power, width), str(power)
        if at > last + 1 and at + len(text) <= width:
            line[at : at + len(text)] = text
            last = at + len(text)
    return "".join(line).rstrip()


def bar(planned: PlannedEntry, colours: Colours, width: int) -> str:
    """The bar of one entry: each column shows the segment of its value of m."""
    text = []
    for column in range(width):
        m = _value(planned.entry.range, column, width)
        index = next((at for at, each in enumerate(planned.segments) if each.start <= m <= each.stop), None)
        if index is None:
            text.append(_REFUSED if planned.refusals or planned.error else _NOTHING)
        elif not planned.segments[index].kernels:
            text.append(_NOTHING)
        else:
            text.append(colours.paint(_BLOCKS[index % len(_BLOCKS)], planned.segments[index].kernels[-1]))
    return "".join(text)


def kernel_lines(
    planned: PlannedEntry, facts: Mapping[str, KernelFacts], colours: Colours
) -> Iterator[tuple[str, str]]:
    """For each segment: its block in its colour, and a line with values of m and kernels."""
    spans = [span(each.start, each.stop) for each in planned.segments]
    width = max(map(len, spans), default=0)
    for index, (segment, text) in enumerate(zip(planned.segments, spans)):
        block = _BLOCKS[index % len(_BLOCKS)]
        names = []
        for kernel in segment.kernels:
            known = facts[kernel]
            size = human_bytes(known.nbytes) if known.nbytes else known.state
            names.append(f"{kernel} ({_tile(known)}{size})")
        last = segment.kernels[-1] if segment.kernels else ""
        line = f"{planned.entry.range.name} {text:<{width}}  {' + '.join(names) or 'none'}"
        yield colours.paint(block, last), line
    for refusal in planned.refusals:
        yield _REFUSED, f"{planned.entry.range.name} {span(refusal.start, refusal.stop)}: refused: {refusal.reason}"
    if planned.error:
        yield _REFUSED, planned.error


def _tile(facts: KernelFacts) -> str:
    values = facts.values()
    sizes = [values[name] for name in ("BLOCK_M", "BLOCK_N", "BLOCK_K") if name in values]
    return f"tile {'x'.join(sizes)}, " if sizes else ""


def _exponents(values: Range) -> range:
    return range(math.ceil(math.log2(max(values.start, 1))), math.floor(math.log2(max(values.stop, 1))) + 1)


def _column(values: Range, m: int, width: int) -> int:
    low, high = math.log(max(values.start, 1)), math.log(values.stop + 1)
    return int((math.log(max(m, 1)) - low) / max(high - low, 1e-9) * width)


def _value(values: Range, column: int, width: int) -> int:
    """The value of m in the middle of a column."""
    low, high = math.log(max(values.start, 1)), math.log(values.stop + 1)
    m = math.exp(low + (column + 0.5) / width * (high - low))
    return min(values.start + max(round((m - values.start) / values.step), 0) * values.step, values.stop)
