"""Split the PTX of several kernels into one text for each, with what its entry needs and nothing else.

These statements may stand outside an entry:

- the table of entries that :mod:`kregistry.compile.shared.group_source` asks for. It is dropped: it only gives names.
- reserved bytes of the headers' file-local objects (``cuda::std::begin`` and the like), which no entry uses. The
  compiler writes them for every source with these includes, so every text keeps them.
- declarations of shared memory and of the runtime's functions (``vprintf``). A text keeps those that its entry names.
- string literals, which are read-only. A text gets a copy of those that its entry names.

Everything else, above all device functions and static data, may be shared between entries or depend on them. An entry
that names such a thing is refused. If no entry names it, all are refused: the PTX of a single kernel might hold it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from attrs import frozen

from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.group_source import TABLE

_HEADER = re.compile(r"(?:\s|//[^\n]*\n)*\.version[^\n]+\n\s*\.target[^\n]+\n\s*\.address_size[^\n]+\n")
_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|[{};]', re.DOTALL)
_COMMENTS = re.compile(r"(?:\s|//[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_LINKAGE = r"(?:\.(?:visible|weak|extern)\s+)*"
_FUNCTION = re.compile(_LINKAGE + r"\.(?:entry|func)\b")
_ENTRY = re.compile(_LINKAGE + r"\.entry\s+([\w$]+)")
_TABLE = re.compile(_LINKAGE + rf"\.global\s[^=]*\b{TABLE}\[\d+\]\s*=\s*\{{([^}}]*)\}};")
_BYSTANDER = re.compile(r"\.global\s+\.align\s+\d+\s+\.b8\s+(\w*_INTERNAL_\w+)\[\d+\];")
_SHARED_MEMORY = re.compile(r"\.extern\s+\.shared\s+\.align\s+\d+\s+\.b8\s+([\w$]+)\[\];")
_RUNTIME_FUNCTION = re.compile(r"\.extern\s+\.func\s+(?:\([^)]*\)\s*)?(vprintf|__assertfail)\b[^;{]*;")
_STRING = re.compile(r"\.global\s+\.align\s+1\s+\.b8\s+(\$str(?:\$\d+)?)\[\d+\]\s*=\s*\{[\d,\s]*\};")
_NAME = re.compile(r"\.(?:func|global|const|shared|alias|common)\b[^=;{(]*?(?:\([^)]*\)\s*)?([\w$]+)\s*(?:\[|\(|=|;|,)")


@frozen
class Pieces:
    """PTX, split.

    Attributes:
        order: mangled names of the entries, in the order of the table.
        texts: mangled name -> PTX with that entry alone.
        refused: mangled name -> why that entry has no text of its own.
    """

    order: tuple[str, ...]
    texts: Mapping[str, str]
    refused: Mapping[str, str]


def split_ptx(ptx: str) -> Pieces:
    """Split PTX into one text for each entry of the table.

    Raises:
        CannotShare: a statement outside the entries is of an unknown kind.
    """
    header = _HEADER.match(ptx)
    if header is None:
        raise CannotShare("the PTX starts in another way than nvcc's")
    entries: dict[str, str] = {}
    order: tuple[str, ...] = ()
    others: list[tuple[str, str]] = []
    unknown: dict[str, str] = {}
    kept: list[tuple[str, str]] = []  # name or "" for everywhere, statement; in the order of the text
    for statement in _statements(ptx, header.end()):
        if entry := _ENTRY.match(statement):
            if statement.endswith("}"):
                entries[entry[1]] = statement
        elif table := _TABLE.fullmatch(statement):
            order = tuple(name.strip() for name in table[1].split(","))
        elif bystander := _BYSTANDER.fullmatch(statement):
            kept.append(("", statement))
            unknown[bystander[1]] = "uses a file-local object of the headers"
        elif named := _first_match(statement, _SHARED_MEMORY, _RUNTIME_FUNCTION, _STRING):
            kept.append((named, statement))
        elif found := _NAME.search(statement):
            others.append((found[1], statement))
            unknown[found[1]] = f"uses {found[1]}: {_shortened(statement)}"
        else:
            raise CannotShare(f"outside of the entries: {_shortened(statement)}")
    if set(order) != set(entries):
        raise CannotShare(f"{len(entries)} entries where the table names {len(set(order))}")
    outside = {*unknown, *(name for name, _ in kept if name)}
    names = {entry: {name for name in outside if _names(text, name)} for entry, text in entries.items()}
    for name, statement in others:
        if not any(name in named for named in names.values()):
            raise CannotShare(f"no entry uses {name}: {_shortened(statement)}")
    refused = {
        entry: next(reason for name, reason in unknown.items() if name in named)
        for entry, named in names.items()
        if not named.isdisjoint(unknown)
    }
    texts = {
        entry: header[0] + "\n".join([*(s for name, s in kept if not name or name in names[entry]), text]) + "\n"
        for entry, text in entries.items()
        if entry not in refused
    }
    return Pieces(order, texts, refused)


def _statements(ptx: str, start: int) -> Iterator[str]:
    """The module's statements, up to their ``;`` or, for functions, closing brace; comments between them are dropped.

    Raises:
        CannotShare: braces do not match, or text follows the last statement.
    """
    depth = 0
    start = _COMMENTS.match(ptx, start).end()  # type: ignore[union-attr]  # matches the empty string too
    for token in _TOKEN.finditer(ptx, start):
        text = token[0]
        depth += (text == "{") - (text == "}")
        if depth == 0 and (text == ";" or (text == "}" and _FUNCTION.match(ptx, start))):
            yield ptx[start : token.end()]
            start = _COMMENTS.match(ptx, token.end()).end()  # type: ignore[union-attr]
    if depth or start != len(ptx):
        raise CannotShare(f"the PTX ends in the middle: {_shortened(ptx[start:])}")


def _first_match(statement: str, *patterns: re.Pattern[str]) -> str:
    return next((match[1] for pattern in patterns if (match := pattern.fullmatch(statement))), "")


def _names(text: str, name: str) -> bool:
    """Whether a text contains a name as a whole word."""
    # The plain search comes first: an entry is large, and most names are not in it.
    return name in text and re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text) is not None


def _shortened(statement: str) -> str:
    line = " ".join(statement.split())
    return line if len(line) <= 100 else line[:97] + "..."
