"""What is known of every architecture that SGLang or vLLM registers: architectures.json, written by a tool.

``python tools/architectures.py`` reads the installed engines and writes the file; see docs/models.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files

from attrs import frozen

#: The verdicts, in the order of the file's own explanation.
VERDICTS = ("described", "not described", "never")


@frozen
class Architecture:
    """One name of ``architectures`` in config.json.

    Attributes:
        name: the name.
        engines: engine -> the module that holds its class.
        verdict: ``described`` (a family has its formulas), ``not described`` (a checkpoint in FP8 blocks goes to
            DeepGEMM, but no family has the shapes), ``never`` (its layers take no quantisation).
        reason: the reason of the verdict.
    """

    name: str
    engines: Mapping[str, str]
    verdict: str
    reason: str


@lru_cache(maxsize=1)
def architectures() -> Mapping[str, Architecture]:
    """Every architecture of the file, by name."""
    data = json.loads(files(__package__).joinpath("architectures.json").read_text(encoding="utf-8"))
    return {
        name: Architecture(name, entry["engines"], entry["verdict"], entry["reason"])
        for name, entry in data["architectures"].items()
    }


def reason_of(name: str) -> str:
    """What is known of an architecture without a family; empty if the engines do not register it."""
    found = architectures().get(name)
    if found is None or found.verdict == "described":
        return ""
    return f"{' and '.join(sorted(found.engines))} can serve it, but {found.reason}"
