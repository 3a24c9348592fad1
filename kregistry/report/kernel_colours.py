"""The colours of kernels on a page: the hue says the family, the lightness the size of the tile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from kregistry.report.kernel_facts import KernelFacts

#: Hues of kernel families, told apart with the common kinds of colour blindness as far as five colours can be.
_HUES = (214, 28, 160, 285, 350, 60, 190, 110)
#: A kernel's lightness: 8 steps from small to large tiles.
_STEPS = 8


def colours(facts: Sequence[KernelFacts]) -> str:
    """A rule of CSS for each kernel, in the order of their numbers on the page."""
    families = list(dict.fromkeys(each.kernel.name for each in facts))
    hues = {family: _HUES[number % len(_HUES)] for number, family in enumerate(families)}
    tiles: dict[str, set[int]] = defaultdict(set)
    for each in facts:
        tiles[each.kernel.name].add(each.tile())
    ranks: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    for each in facts:
        ranks[each.kernel.name].add(_rank(each, tiles))
    orders = {family: {rank: at for at, rank in enumerate(sorted(found))} for family, found in ranks.items()}
    rules = []
    for number, each in enumerate(facts):
        order = orders[each.kernel.name]
        step = order[_rank(each, tiles)] * (_STEPS - 1) // max(len(order) - 1, 1)
        rules.append(f".k{number}{{fill:hsl({hues[each.kernel.name]} var(--sat) var(--s{step}))}}")
    return "".join(rules)


def _rank(facts: KernelFacts, tiles: Mapping[str, set[int]]) -> tuple[int, ...]:
    """The size of the tile; where all kernels of a family have the same one, their other arguments."""
    return facts.rank() if len(tiles[facts.kernel.name]) == 1 else (facts.tile(),)
