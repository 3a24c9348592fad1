"""The parser of the sources that DeepGEMM generates: includes, and one reference to a kernel template.

A generated ``kernel.cu``::

    #include <deep_gemm/impls/sm90_fp8_gemm_1d2d.cuh>
    using namespace deep_gemm;
    static void __instantiate_kernel() {
        auto ptr = reinterpret_cast<void*>(&sm90_fp8_gemm_1d2d_impl<cute::UMMA::Major::K, 0, 7168, 512>);
    };
"""

from __future__ import annotations

import re
from functools import lru_cache

from attrs import frozen

_SOURCE = re.compile(
    r"(?P<prologue>.*?)"
    r"^static void __instantiate_kernel\(\) \{\s*"
    r"auto ptr = reinterpret_cast<void\*>\((?P<reference>&[^;{}]*)\);\s*"
    r"\};?\s*\Z",
    re.DOTALL | re.MULTILINE,
)
_ANY_CAST = re.compile(r"reinterpret_cast<void\s*\*>\(")
#: A source that is longer than this is not searched. DeepGEMM's have about 1,000 characters.
_MOST_CHARACTERS = 1 << 16
_REFERENCE = re.compile(r"&\s*(?:\w+\s*::\s*)*(?P<symbol>[A-Za-z_]\w*)\s*(?:<(?P<arguments>.*)>\s*)?", re.DOTALL)
#: Numbers (``1'000``), words, short strings and characters, operators that contain an angle bracket, single characters.
#: Without a limit, a text of many opening quotes would be searched to its end at each of them.
_TOKEN = re.compile(
    r"""\d[\w.]*(?:'\w+)*|\w+|"(?:\\.|[^"\\]){0,40}"|'(?:\\.|[^'\\]){0,40}'|<<|<=|->|.""",
    re.DOTALL,
)
#: Sources of a build are taken apart several times: to check them, to group them, and to estimate their sizes.
_REMEMBERED = 256
_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}


@frozen
class KernelReference:
    """The kernel that a source asks for.

    Attributes:
        text: the reference as it stands in the source, e.g. ``&gemm_impl<128, 64>``.
        symbol: name of the function template without its namespace, e.g. ``gemm_impl``.
        arguments: its template arguments, each with single spaces; empty if there are none.
    """

    text: str
    symbol: str
    arguments: tuple[str, ...]

    @property
    def kernel(self) -> str:
        """DeepGEMM's name of the kernel, e.g. ``gemm``."""
        return self.symbol.removesuffix("_impl")


@frozen
class GeneratedSource:
    """A ``kernel.cu`` that has exactly the form that DeepGEMM generates.

    Attributes:
        prologue: everything before the one function: includes and ``using``.
        reference: the kernel.
    """

    prologue: str
    reference: KernelReference


@lru_cache(_REMEMBERED)
def parse_source(source: str) -> GeneratedSource | None:
    """Take a generated source apart; ``None`` if it holds anything else than includes and one reference."""
    match = _SOURCE.fullmatch(source)
    reference = _parse_reference(match["reference"]) if match else None
    return GeneratedSource(match["prologue"], reference) if match and reference else None


def find_reference(source: str) -> KernelReference | None:
    """The first kernel that any source refers to; ``None`` if there is none."""
    at = 0
    while match := _ANY_CAST.search(source, at, _MOST_CHARACTERS):
        at = source.find(";", match.end())
        if at < 0:
            return None
        inside = source[match.end() : at].strip()
        if inside.startswith("&") and inside.endswith(")"):
            return _parse_reference(inside[:-1].rstrip())
    return None


def split_arguments(text: str) -> tuple[str, ...]:
    """Template arguments, split at the commas outside of brackets, strings and characters.

    A ``<`` opens a bracket unless it stands inside of round, square or curly brackets, where it may be an operator:
    ``(a < b), std::pair<int, float>`` are two arguments.
    """
    arguments = [""]
    expected: list[str] = []  # closing brackets, the innermost last
    for token in _TOKEN.findall(text):
        if expected and token == expected[-1]:
            expected.pop()
        elif token in _CLOSING and (token != "<" or not expected or expected[-1] == ">"):
            expected.append(_CLOSING[token])
        elif token == "," and not expected:
            arguments.append("")
            continue
        arguments[-1] += token
    return tuple(" ".join(argument.split()) for argument in arguments if argument.strip())


def _parse_reference(text: str) -> KernelReference | None:
    match = _REFERENCE.fullmatch(text)
    return KernelReference(text, match["symbol"], split_arguments(match["arguments"] or "")) if match else None
