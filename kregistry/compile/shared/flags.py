"""The flags of nvcc that allow a shared front end: they leave its code the same and ask for no other output."""

from __future__ import annotations

import re
from collections.abc import Iterable

_UNDERSTOOD = re.compile(
    r"""
      -{1,2}cubin
    | -O[0-3]
    | -{1,2}std=[\w+]+
    | (--gpu-architecture|-arch)=sm_\w+
    | (--generate-code|-gencode)=arch=compute_\w+,code=sm_\w+
    | --diag-suppress=[\d,]+
    | --expt-(relaxed-constexpr|extended-lambda) | --extended-lambda
    | --use_fast_math | --(ftz|fmad|prec-div|prec-sqrt)=(true|false)
    | (--compiler-options|-Xcompiler)=(-f(PIC|concepts)|-O[0-3]|-W[\w-]+)(,(-f(PIC|concepts)|-O[0-3]|-W[\w-]+))*
    | (--ptxas-options|-Xptxas)=--register-usage-level=\d+
    | -D\w+(=\w+)?
    """,
    re.VERBOSE,
)


def reason_not_shareable(flags: Iterable[str]) -> str:
    """Why these flags do not allow a shared front end: names the first such flag; empty if they all do."""
    for flag in flags:
        if not _UNDERSTOOD.fullmatch(flag):
            return f"the flag {flag} is not known to leave a shared front end's code the same"
    return ""
