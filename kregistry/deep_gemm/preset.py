"""The variables that an installed DeepGEMM brings with it.

A build from source writes ``deep_gemm/envs.py`` with the variables that were set at that time, such as
``DG_JIT_CACHE_DIR`` and ``DG_JIT_CPP_STANDARD``. The import of DeepGEMM sets those that the process does not have. So
they are part of the environment of every server, although no shell shows them.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from kregistry.deep_gemm.environment import for_dry_run

#: The module, and the name of the dictionary in it.
_FILE, _NAME = "envs.py", "persistent_envs"


def adopt_preset(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what the import of DeepGEMM would set, before anything is decided by it. DeepGEMM is not imported."""
    for name, value in preset().items():
        environment.setdefault(name, value)


def preset() -> dict[str, str]:
    """The variables that the installed DeepGEMM brings with it; its module is read, and not run."""
    try:
        spec = importlib.util.find_spec("deep_gemm")
    except ValueError:  # a module that was put in place by hand has no spec
        return {}
    found: dict[str, str] = {}
    for place in (spec.submodule_search_locations or ()) if spec else ():
        try:
            tree = ast.parse(Path(place, _FILE).read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError):
            continue
        found.update(_assigned(tree))
    return found


def forget_preset(before: set[str], environment: MutableMapping[str, str] = os.environ) -> None:
    """Take away what the import of DeepGEMM has set in a dry run, if a dry run does not inherit it.

    Args:
        before: the names that were set before the import.
        environment: of this process.
    """
    kept = for_dry_run(environment)
    for name in {*environment} - before - {*kept}:
        del environment[name]


def _assigned(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The items of ``persistent_envs = {"A": "x"}`` and of ``persistent_envs["A"] = "x"``."""
    for statement in tree.body:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            continue
        target, value = statement.targets[0], statement.value
        if isinstance(target, ast.Name) and target.id == _NAME and isinstance(value, ast.Dict):
            pairs = [(key, item) for key, item in zip(value.keys, value.values) if key is not None]
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id == _NAME:
            pairs = [(target.slice, value)]
        else:
            continue
        for key, item in pairs:
            if isinstance(key, ast.Constant) and isinstance(item, ast.Constant):
                yield str(key.value), str(item.value)
