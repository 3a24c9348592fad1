"""Writes kregistry/hf_config/architectures.json: every architecture that SGLang or vLLM registers, with a verdict.

Both engines must be installed in the environment that runs it. Their sources are read; nothing of them is imported.

python tools/architectures.py           write the file
python tools/architectures.py check     fail if it would change
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from kregistry.hf_config.installed_families import installed_families

ROOT = Path(__file__).parent.parent
FILE = ROOT / "kregistry" / "hf_config" / "architectures.json"
#: Modules of models, and the folders below the engine's package that hold them.
_MODELS = re.compile(r"(sglang\.srt|vllm\.model_executor|vllm)\.models\.")
_SGLANG_MODELS = "srt/models"
_VLLM_MODELS = "model_executor/models"
#: The argument by which a model hands a layer its quantisation, and the layers that DeepGEMM may compute.
_QUANTIZATION = "quant_config"
_LAYERS = ("Linear", "MoE", "Experts", "Mixer")
#: The function by which a multimodal model of vLLM builds its language model from the registry.
_LANGUAGE_MODEL = "init_vllm_registered_model"


def main() -> None:
    if sys.argv[1:] not in ([], ["check"]):
        sys.exit(__doc__)
    text = render()
    if sys.argv[1:] == []:
        FILE.write_text(text, encoding="utf-8")
    elif FILE.read_text(encoding="utf-8") != text:
        sys.exit(f"{FILE.name} is out of date: run python tools/architectures.py")


def render() -> str:
    """The text of the file."""
    families = {name: family.name for family in installed_families().families for name in family.architectures}
    found: dict[str, dict[str, str]] = {}
    for engine, registered in (("sglang", dict(sglang_architectures())), ("vllm", dict(vllm_architectures()))):
        for name, module in registered.items():
            found.setdefault(name, {})[engine] = module
    entries = {}
    for name, engines in sorted(found.items()):
        verdict, reason = _verdict(name, engines, families)
        entries[name] = {"engines": engines, "verdict": verdict, "reason": reason}
    source = f"tools/architectures.py, from SGLang {version('sglang')} and vLLM {version('vllm')}"
    return json.dumps({"_source": source, "architectures": entries}, indent=1) + "\n"


def _verdict(name: str, engines: dict[str, str], families: dict[str, str]) -> tuple[str, str]:
    if name in families:
        return "described", f"family {families[name]}"
    taking = [engine for engine, module in engines.items() if takes_quantization(engine, module)]
    if taking:
        return (
            "not described",
            "no family has its shapes; its layers take a quantisation, so a checkpoint in FP8 blocks goes to DeepGEMM",
        )
    return "never", "its layers take no quantisation, so no weight is in FP8 blocks"


def sglang_architectures() -> Iterator[tuple[str, str]]:
    """Name and module of every class that a model file of SGLang lists as ``EntryClass``."""
    models = _package("sglang") / _SGLANG_MODELS
    for path in sorted(models.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else ()
            if any(isinstance(each, ast.Name) and each.id == "EntryClass" for each in targets):
                assert isinstance(node, ast.Assign)
                for each in ast.walk(node.value):
                    if isinstance(each, ast.Name):
                        yield each.id, path.relative_to(models.parent).as_posix()


def vllm_architectures() -> Iterator[tuple[str, str]]:
    """Name and module of every entry of vLLM's registry."""
    package = _package("vllm")
    tree = ast.parse((package / _VLLM_MODELS / "registry.py").read_text(encoding="utf-8"))
    tables = {node.targets[0].id: node.value for node in tree.body if _is_table(node)}  # type: ignore[attr-defined]
    merged = [value.id for key, value in _items(tables["_VLLM_MODELS"]) if key is None and isinstance(value, ast.Name)]
    for table in merged:
        for key, value in _items(tables[table]):
            if isinstance(key, ast.Constant) and isinstance(value, ast.Tuple):
                module = ast.literal_eval(value.elts[0])
                yield str(key.value), _vllm_path(package, module)


def _is_table(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict)


def _items(table: ast.expr) -> Iterator[tuple[ast.expr | None, ast.expr]]:
    assert isinstance(table, ast.Dict)
    yield from zip(table.keys, table.values)


def _vllm_path(package: Path, module: str) -> str:
    base = (
        package / _VLLM_MODELS / module if not module.startswith("vllm.") else package.parent / module.replace(".", "/")
    )
    path = base if base.is_dir() else base.with_suffix(".py")
    return path.relative_to(package).as_posix()


def takes_quantization(engine: str, module: str) -> bool:
    """Whether a model file, or one that it imports from the engine's models, hands a quantisation to its layers."""
    package = _package(engine)
    start = package / ("srt" if engine == "sglang" else "") / module
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in seen or not path.exists():
            continue
        seen.add(path)
        for file in sorted(path.rglob("*.py")) if path.is_dir() else (path,):
            quantizes, imports = _read(file)
            if quantizes:
                return True
            waiting += [_imported(package, file, level, name) for level, name in imports]
    return False


@cache
def _read(path: Path) -> tuple[bool, tuple[tuple[int, str], ...]]:
    """Whether a file builds a layer with a quantisation, and the models that it imports (level, name)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    quantizes, imports = False, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            quantizes = quantizes or _quantizes(node)
        elif isinstance(node, ast.ImportFrom) and (node.level or _MODELS.match(node.module or "")):
            imports.append((node.level, node.module or ""))
    return quantizes, tuple(imports)


def _quantizes(call: ast.Call) -> bool:
    layer = ast.unparse(call.func)
    if layer.endswith(_LANGUAGE_MODEL):
        return True
    given = [each.value for each in call.keywords if each.arg == _QUANTIZATION]
    return any(word in layer for word in _LAYERS) and any(not isinstance(value, ast.Constant) for value in given)


def _imported(package: Path, file: Path, level: int, name: str) -> Path:
    start = file.parents[level - 1] if level else package.parent
    base = start / name.replace(".", "/")
    return base if base.is_dir() else base.with_suffix(".py")


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        sys.exit(f"{name} is not installed: run this where both engines are")
    return Path(spec.origin).parent


if __name__ == "__main__":
    main()
