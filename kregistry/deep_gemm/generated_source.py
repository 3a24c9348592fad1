"""Read kernel and template arguments off the source that DeepGEMM generates."""

from __future__ import annotations

import re

_INSTANCE = re.compile(r"&\s*([A-Za-z_]\w*)\s*<(.*?)>\s*\)\s*;", re.DOTALL)
_PLAIN = re.compile(r"&\s*([A-Za-z_]\w*)\s*\)\s*;")


def read_instance(source: str) -> tuple[str, tuple[str, ...]]:
    """(family, template arguments); the family is empty if the source instantiates nothing that is known here."""
    found = _INSTANCE.search(source)
    if found is None:
        plain = _PLAIN.search(source)
        return (_family(plain.group(1)), ()) if plain else ("", ())
    return _family(found.group(1)), tuple(_split(found.group(2)))


def _family(symbol: str) -> str:
    return symbol.removesuffix("_impl")


def _split(text: str) -> list[str]:
    """At the commas outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "<([{") - (character in ">)]}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [" ".join(part.split()) for part in parts if part.strip()]
