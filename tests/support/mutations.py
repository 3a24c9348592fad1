"""Damaged and hostile variants of a valid file, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

#: What is put into a file: syntax of YAML and JSON, numbers and texts that their readers stumble over.
_TEXTS = (
    "[", "]", "{", "}", ":", ",", "-", "\n", "\t", '"', "'", "#", "&a ", "*a", "<<: *a", "? ", "| ", "%", "@",
    "!!bool x", '!!int ""', '!!float ""', "!!int 0x", "!!binary x", "!!set {a}", "!!omap [a]", "!!timestamp 1",
    "!!python/object:os.system x", "null", "true", "NaN", "Infinity", "-0", "1e999", "-1", "0", "1.5", ".inf",
    "9" * 30, "0x" + "f" * 4000, "9" * 5000, "1" * 400 + "e1", "10:20", "2024-13-01", "x" * 5000,
    "[" * 300, '{"a":' * 300, "\\ud800", '"\\ud800"', '"\\u0000"', '"\\e]0;evil\\a"', "$(touch x)", "../../x",
    "\x00", "\x1b]0;evil\x07", "\u202e", "\ufeff", "é", "version: 1", '"m": true', '"m": 2147483648',
)  # fmt: skip
NASTY = (*(text.encode() for text in _TEXTS), b"\xff\xfe", b"\xc3", b"\x80" * 9)


def mutations(valid: bytes, count: int, seed: int) -> Iterator[bytes]:
    """``count`` variants: bytes flipped, cut, repeated and exchanged, lines swapped, values replaced by nasty ones."""
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        content = bytearray(valid)
        for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
            content = _mutate(content, chance)
        yield bytes(content)


def _mutate(content: bytearray, chance: random.Random) -> bytearray:
    place = chance.randrange(len(content) + 1)
    end = min(len(content), place + chance.choice((1, 2, 5, 20, 200)))
    kind = chance.randrange(8)
    if kind == 0 and content:
        content[min(place, len(content) - 1)] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del content[place:end]
    elif kind == 2:
        del content[place:]
    elif kind == 3:
        content[place:place] = chance.choice(NASTY)
    elif kind == 4:
        content[place:end] = chance.choice(NASTY)
    elif kind == 5:
        content[place:place] = content[place:end] * chance.choice((1, 2, 50))
    elif kind == 6:
        lines = content.split(b"\n")
        one, other = (chance.randrange(len(lines)) for _ in range(2))
        lines[one], lines[other] = lines[other], lines[one]
        content = bytearray(b"\n".join(lines))
    else:  # a whole value: what stands between two separators
        start = max(content.rfind(each, 0, place) for each in (b" ", b":", b",", b"[")) + 1
        stops = [found for each in (b",", b"}", b"]", b"\n") if (found := content.find(each, place)) >= 0]
        content[start : min(stops, default=len(content))] = chance.choice(NASTY)
    return content
