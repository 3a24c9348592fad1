"""What kregistry's plugins find in versions of SGLang and vLLM, read from their sources, and what of them has run:
docs/engine-versions.md.

python tools/engine_versions.py DIRECTORY ...           print the page
python tools/engine_versions.py --write DIRECTORY ...   write it

A DIRECTORY holds an unpacked wheel, or is a site-packages directory. Nothing of the engine is imported. The sources of
a version, without its libraries:

    pip download --no-deps sglang==0.5.16 && unzip -q sglang-*.whl '*.py' '*METADATA' -d sglang-0.5.16
"""

from __future__ import annotations

import ast
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

PAGE = Path(__file__).parent.parent / "docs" / "engine-versions.md"


@frozen
class Need:
    """Something of an engine that a plugin uses.

    Attributes:
        purpose: what the plugin does with it.
        file: below the package of the engine.
        names: any of these; a name with a dot is a method.
        parameters: those that the plugin reads, by name or by position.
        without: what happens in a version that has none of the names.
    """

    purpose: str
    file: str
    names: tuple[str, ...]
    parameters: tuple[str, ...] = ()
    without: str = "the engine goes its own way"


#: What has run of a version, as released, on the stub GPU: `.ci/engine-versions`, and `.ci/engines` for the last ones.
RUNS: dict[str, dict[str, str]] = {
    "sglang": {
        "0.5.11": "its warm-up of a group, with sgl-deep-gemm 0.1.4.post1",
        "0.5.16": "its DeepGEMM wrapper; rehearsals",
        "0.5.23": "its DeepGEMM wrapper; whole schedulers; a server, cold and warm; rehearsals",
    },
    "vllm": {
        "0.20.0": "engine core and worker; a server, cold and warm",
        "0.26.0": "engine core and worker; a server, cold and warm",
        "0.33.0": "engine core and worker; a server, cold and warm; rehearsals",
    },
}
_WRAPPER = "srt/layers/deep_gemm_wrapper/compile_utils.py"
_VLLM_WARMUP = "model_executor/warmup/deep_gemm_warmup.py"
_OWN_PATH = "a line in the log; the engine's own warm-up runs"
NEEDS: dict[str, tuple[Need, ...]] = {
    "sglang": (
        Need("entry point of plugins", "srt/plugins/__init__.py", ("load_plugins",), without="kregistry is not loaded"),
        Need("hooks", "srt/plugins/hook_registry.py", ("HookRegistry.register",), without="kregistry is not loaded"),
        Need(
            "build before the schedulers start",
            "srt/entrypoints/engine.py",
            ("_set_envs_and_config",),
            ("server_args",),
            "a line in the log; the first rank starts the build",
        ),
        Need(
            "the server is ready",
            "srt/entrypoints/http_server.py",
            ("_wait_and_warmup",),
            (),
            "a line in the log; first calls are watched for 2,000 calls",
        ),
        Need("each rank reads the build", _WRAPPER, ("update_deep_gemm_config",), ("gpu_id",), _OWN_PATH),
        Need(
            "warm-up of a group",
            _WRAPPER,
            ("_compile_deep_gemm_one_type_all",),
            ("kernel_type", "n", "k", "num_groups", "m_list"),
            _OWN_PATH,
        ),
        Need(
            "context of each call",
            _WRAPPER,
            ("deep_gemm_execution_hook",),
            ("m", "n", "k", "num_groups", "kernel_type"),
            _OWN_PATH,
        ),
        Need("largest m", _WRAPPER, ("_BUILTIN_M_LIST",), (), _OWN_PATH),
        Need("switch of the warm-up", _WRAPPER, ("_ENABLE_JIT_DEEPGEMM_PRECOMPILE",), (), _OWN_PATH),
        Need("symmetric memory off", _WRAPPER, ("disable_symmetric_memory_context",), (), _OWN_PATH),
        Need(
            "values that SGLang chooses",
            "srt/arg_groups/overrides.py",
            ("resolving_view",),
            (),
            "read from ServerArgs",
        ),
    ),
    "vllm": (
        Need("entry point of plugins", "plugins/__init__.py", ("load_general_plugins",), (), "kregistry is not loaded"),
        Need(
            "build while the CUDA context is made",
            "v1/worker/gpu_worker.py",
            ("Worker.init_device",),
            ("self",),
            "the build begins when the model is made",
        ),
        Need(
            "build before weights are loaded, else",
            "model_executor/model_loader/base_loader.py",
            ("initialize_model",),
            (),
            "a traceback in the log; nothing is built before the first call",
        ),
        Need("warm-up", _VLLM_WARMUP, ("deep_gemm_warmup",), ("model", "max_tokens"), _OWN_PATH),
        Need("its caller", "model_executor/warmup/kernel_warmup.py", ("deep_gemm_warmup",), (), _OWN_PATH),
        Need(
            "linear layers",
            _VLLM_WARMUP,
            ("_deep_gemm_linear_data", "_fp8_linear_may_use_deep_gemm"),
            ("module",),
            _OWN_PATH,
        ),
        Need("experts", _VLLM_WARMUP, ("_fused_moe_grouped_gemm_may_use_deep_gemm",), ("module",), _OWN_PATH),
        Need("rows of experts", _VLLM_WARMUP, ("_get_grouped_gemm_params",), ("w1", "w2", "num_topk"), _OWN_PATH),
        Need("mega MoE", _VLLM_WARMUP, ("deepgemm_fp8_fp4_mega_moe_warmup",), (), "it has none"),
        Need(
            "the worker is ready",
            "v1/worker/gpu_worker.py",
            ("Worker.compile_or_warm_up_model",),
            ("self",),
            "a line in the log; first calls are watched for 2,000 calls",
        ),
        Need(
            "compiles are reported to vLLM's monitor", "utils/jit_monitor.py", ("_handle_jit_event",), (), "it has none"
        ),
        Need("the DeepGEMM that vLLM uses", "utils/deep_gemm.py", ("_lazy_init",), (), _OWN_PATH),
    ),
}


def look(directory: Path, engine: str, need: Need) -> str:
    """What a version has: the name, or what happens without it."""
    path = directory / engine / need.file
    if not path.exists():
        return f"no: {need.without}"
    found = dict(_names(ast.parse(path.read_text())))
    name = next((each for each in need.names if each in found), None)
    if name is None:
        return f"no: {need.without}"
    given = found[name]
    missing = [each for each in need.parameters if given is not None and each not in given]
    return f"`{name}`" if not missing else f"`{name}`, but without {', '.join(missing)}: {need.without}"


def _names(tree: ast.Module) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """Names that a module binds, methods of its classes too, and their parameters if they are functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for each in node.body:
                if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield f"{node.name}.{each.name}", _parameters(each)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, _parameters(node)
        elif isinstance(node, (ast.ImportFrom, ast.Import)):
            for alias in node.names:
                yield alias.asname or alias.name, None
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    yield target.id, None


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    every = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return tuple(each.arg for each in every)


def versions(directories: list[Path]) -> dict[str, dict[str, tuple[Path, str]]]:
    """Engine -> version -> its directory, and the DeepGEMM that it asks for."""
    found: dict[str, dict[str, tuple[Path, str]]] = {engine: {} for engine in NEEDS}
    for directory in directories:
        for engine in NEEDS:
            for metadata in directory.glob(f"{engine}-*.dist-info/METADATA"):
                text = metadata.read_text()
                [version] = re.findall(r"^Version: (.+)$", text, re.MULTILINE)
                pinned = re.findall(r"^Requires-Dist: ((?:torch|sgl-deep-gemm)==[^\s;]+)", text, re.MULTILINE)
                found[engine][version] = directory, ", ".join(sorted(set(pinned)))
    return found


def page(directories: list[Path]) -> str:
    """The page, as Markdown."""
    lines = [
        "# Versions of SGLang and vLLM",
        "",
        "`python tools/engine_versions.py --write` writes this page from sources, with nothing imported.",
        f"Written on {time.strftime('%Y-%m-%d')}.",
        "",
        "A name is what the plugin uses in that version. *no* is followed by what happens without it.",
        "",
        "The second row says what has run of the released package on the stub GPU, with the torch that it pins (vLLM",
        "0.33.0: with torch 2.14.1). kregistry's hooks were found, and its warm-up took the place of the engine's own.",
        "`.ci/engines` runs this for the last versions, and `.ci/engine-versions` for the others. What has served on",
        "hardware: [serving](serving.md#sglang-and-vllm).",
    ]
    for engine, by_version in versions(directories).items():
        known = sorted(by_version, key=lambda version: [int(each) for each in re.findall(r"\d+", version)])
        if not known:
            continue
        title = {"sglang": "SGLang", "vllm": "vLLM"}[engine]
        lines += ["", f"## {title}", "", f"| what the plugin does | {' | '.join(known)} |"]
        lines.append("|---" * (len(known) + 1) + "|")
        lines.append(f"| pinned by the wheel | {' | '.join(by_version[each][1] or '-' for each in known)} |")
        runs = [RUNS[engine].get(each, "read only") for each in known]
        lines.append(f"| run on the stub GPU | {' | '.join(runs)} |")
        for need in NEEDS[engine]:
            cells = [look(by_version[each][0], engine, need) for each in known]
            lines.append(f"| {need.purpose} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    text = page([Path(each) for each in arguments if each != "--write"])
    if "--write" in arguments:
        PAGE.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main(sys.argv[1:])
