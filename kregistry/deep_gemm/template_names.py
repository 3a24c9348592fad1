"""Names of the template parameters of DeepGEMM's kernels, read off its headers: what an argument means."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from kregistry.deep_gemm.generated_source import find_reference, split_arguments
from kregistry.kernel import Kernel

_INCLUDE = re.compile(r"#include\s*[<\"]([^>\"]+)[>\"]")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_DECLARED = re.compile(r"(?P<name>\w+)\s*(?:=.*)?$", re.DOTALL)


def template_arguments(kernel: Kernel) -> tuple[tuple[str, str], ...]:
    """The template arguments of a kernel as (name, value), in order.

    A name is empty where the header does not tell it: DeepGEMM is not installed, or the declaration has another form.
    """
    reference = find_reference(kernel.source)
    if reference is None:
        return ()
    headers = tuple(_INCLUDE.findall(kernel.source))
    names = _parameter_names(reference.symbol, headers, kernel.command.includes)
    if len(names) < len(reference.arguments):
        names = ("",) * len(reference.arguments)
    return tuple(zip(names, reference.arguments))


@cache
def _parameter_names(symbol: str, headers: tuple[str, ...], includes: tuple[Path, ...]) -> tuple[str, ...]:
    for header in headers:
        for directory in includes:
            try:
                text = (directory / header).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            names = _declared(text, symbol)
            if names:
                return names
    return ()


def _declared(text: str, symbol: str) -> tuple[str, ...]:
    """The parameters of the last template before a function's parameter list."""
    for match in re.finditer(rf"\b{re.escape(symbol)}\s*\(", text):
        start = text.rfind("template", 0, match.start())
        if start < 0 or not text[start:].startswith("template"):
            continue
        head = _COMMENT.sub(" ", text[start + len("template") : match.start()])
        parameters = _first_bracket(head.strip())
        found = [_DECLARED.search(each) for each in split_arguments(parameters)]
        names = tuple(each["name"] for each in found if each)
        if names and len(names) == len(found):
            return names
    return ()


def _first_bracket(text: str) -> str:
    """The content of ``<...>`` at the start of a text; inside round brackets ``<`` may be an operator."""
    depth = round_brackets = 0
    for position, character in enumerate(text):
        round_brackets += (character == "(") - (character == ")")
        if not round_brackets:
            depth += (character == "<") - (character == ">")
        if depth == 0:
            return text[1:position]
    return ""
