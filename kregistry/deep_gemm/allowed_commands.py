"""What a lock file may ask a compiler for: sources of DeepGEMM's form, and the flags that DeepGEMM passes.

A lock file comes from somebody else, and it is code for a compiler. A source can read any file (``#include``), and a
flag can run any program (``-ccbin``). So both must match what DeepGEMM generates, and everything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence

from kregistry.deep_gemm.generated_source import parse_source

_INCLUDE = re.compile(r"#include <((?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*)>")
_OTHER_LINE = re.compile(r"|// Includes' hash value: [0-9a-f]+|using namespace deep_gemm;")
#: A reference to a kernel: no string, no preprocessor, no escape, and so no assembler.
_REFERENCE = re.compile(r"[A-Za-z0-9_:<>,()&*.+\- \t\n]*")
#: What a preprocessor answers by looking for a file.
_LOOKS_FOR_FILES = re.compile(r"__has_\w+|_Pragma|__pragma")
_FLAGS = re.compile(
    r"--?cubin|-O[0-3]|-std=c\+\+\d\d|--diag-suppress=[\d,]+|--expt-relaxed-constexpr|--expt-extended-lambda"
    r"|--gpu-architecture=sm_\d+[af]?|-gencode=arch=compute_\d+[af]?,code=sm_\d+[af]?|-lineinfo|--use_fast_math"
    r"|--ptxas-options=(?:--?(?:register-usage-level=\d+|verbose|v|warn-on-local-memory-usage|warn-on-spills),?)+"
    r"|--compiler-options=(?:-(?:O[0-3]|fPIC|fconcepts|Wno-deprecated-declarations|Wno-abi),?)+",
    re.ASCII,
)


#: What a kernel of DeepGEMM stays far below: a longer command or source is meant to cost time or memory.
MAX_SOURCE = 1 << 15
MAX_FLAGS = 64
MAX_FLAG = 500
MAX_HEADERS = 8


def reason_to_refuse(source: str, flags: Iterable[str], headers: Sequence[Container[str]]) -> str:
    """Why a kernel of a lock file is not compiled; empty if there is no reason.

    Args:
        source: its CUDA source.
        flags: the compiler's flags.
        headers: for each directory in which the compiler looks first, whether a name is that of a file there.
    """
    flags = tuple(flags)
    too_long = len(source) > MAX_SOURCE or any(len(each) > MAX_FLAG for each in flags)
    if too_long or len(flags) > MAX_FLAGS or len(headers) > MAX_HEADERS:
        return "its source or its command is longer than those of DeepGEMM"
    flag = next((each for each in flags if not _FLAGS.fullmatch(each)), None)
    if flag is not None:
        return f"the flag {flag[:80]!r} is not one that DeepGEMM passes"
    parsed = parse_source(source)
    if parsed is None or not _REFERENCE.fullmatch(parsed.reference.text) or _LOOKS_FOR_FILES.search(source):
        return "the source does not have the form that DeepGEMM generates"
    for line in parsed.prologue.split("\n"):
        include = _INCLUDE.fullmatch(line)
        if include is None and not _OTHER_LINE.fullmatch(line):
            return f"the source holds the line {line[:80]!r}, which DeepGEMM does not generate"
        if include is not None and not any(include[1] in names for names in headers):
            return f"the source includes {include[1][:80]}, which is not one of DeepGEMM's headers"
    return ""
