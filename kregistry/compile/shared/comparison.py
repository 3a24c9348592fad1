"""Are two cubins the same kernel? They are compared section by section, except for the names of file-local symbols.

nvcc puts an id into the names of file-local symbols. The id depends on the source's name, the compilation and the
process, so that even two runs of nvcc on one source differ in it. The ids are cut out before names are compared. So are
the numbers of string literals, which count all literals of a source.
"""

from __future__ import annotations

import re
import struct

from kregistry.store.cubin import Section, sections_of

_SHT_SYMTAB, _SHT_STRTAB = 2, 3
_SYMBOL = struct.Struct("<IBBHQQ")
_MARK = re.compile(r"(?<=\d)(?=_INTERNAL_|_GLOBAL__N_)")
#: After the marker: a hash, the length of the file's name, the name with a hash of its path, perhaps a process id.
_ID = re.compile(r"(?:_INTERNAL|_GLOBAL__N_)_[0-9a-f]{8}_\d+_\w+_[0-9a-f]{8}(?:_\d+)?")
_STRING_NUMBER = re.compile(r"\$str\$\d+")


def difference(one: bytes, other: bytes) -> str:
    """Describe what differs between two cubins; empty if they are the same kernel.

    Raises:
        DamagedCubin: one of the two is not a complete cubin.
    """
    left, right = sections_of(one), sections_of(other)
    names = [[without_id(section.name) for section in side] for side in (left, right)]
    if names[0] != names[1]:
        odd = sorted(set(names[0]) ^ set(names[1]))
        return f"only one of them has the section {odd[0]}" if odd else "the order of the sections"
    for a, b in zip(left, right):
        if _fields(a) != _fields(b):
            return f"the header of {a.name}: {_fields(a)} and {_fields(b)}"
        if _is_symbol_table(a, left) and _is_symbol_table(b, right):
            symbols = [_symbols(section, side) for section, side in ((a, left), (b, right))]
            if symbols[0] != symbols[1]:
                return f"symbols: {next((x, y) for x, y in zip(*symbols) if x != y)}"
        elif a.kind == _SHT_STRTAB:
            if _strings(a) != _strings(b):
                return f"strings of {a.name}"
        elif a.content != b.content:
            return f"the content of {a.name}, {len(a.content)} bytes"
    return ""


def without_id(name: str) -> str:
    """A mangled name without the id of its compilation and without the numbers of string literals."""
    parts = []
    start = 0
    for mark in _MARK.finditer(name):
        if mark.start() < start:
            continue
        # The digits before the marker end with the length of the id; what precedes them may end with a digit too.
        digits = re.search(r"\d+\Z", name[: mark.start()])
        assert digits is not None
        for length in (int(digits[0][skip:]) for skip in range(len(digits[0]))):
            if _ID.fullmatch(name[mark.start() : mark.start() + length]):
                parts.append(name[start : mark.start() - len(str(length))])
                start = mark.start() + length
                break
    return _STRING_NUMBER.sub("$str", "".join(parts) + name[start:])


def _is_symbol_table(section: Section, sections: tuple[Section, ...]) -> bool:
    """Also ``.nv.merc.symtab`` of sm_100: a symbol table with a type of its own, whose names are in a string table."""
    shaped = section.kind == _SHT_SYMTAB or section.name.endswith("symtab")
    linked = section.link < len(sections) and sections[section.link].kind == _SHT_STRTAB
    return shaped and linked and section.entry_size == _SYMBOL.size


def _fields(section: Section) -> tuple[int, ...]:
    """The fields of a section header to compare, without the size of string tables, which varies with the ids."""
    size = 0 if section.kind == _SHT_STRTAB else section.size
    return section.kind, section.flags, size, section.link, section.info, section.alignment, section.entry_size


def _strings(section: Section) -> list[str]:
    return [without_id(text.decode(errors="replace")) for text in section.content.split(b"\0")]


def _symbols(section: Section, sections: tuple[Section, ...]) -> list[tuple[str, int, int, int, int, int]]:
    strings = sections[section.link].content
    found = []
    for offset in range(0, len(section.content), _SYMBOL.size):
        name, *rest = _SYMBOL.unpack_from(section.content, offset)
        text = strings[name:].partition(b"\0")[0].decode(errors="replace")
        found.append((without_id(text), *rest))
    return found
