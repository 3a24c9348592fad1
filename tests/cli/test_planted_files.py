"""Nothing that we read runs code: files and names are planted in every place from which a command reads."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from readers import CONFIG, EVENT, MANIFEST, PLAN

#: Names under which Python, its site module, pytest, torch and we would import a file.
MODULES = (
    "json", "sitecustomize", "usercustomize", "conftest", "torch", "deep_gemm", "yaml", "click", "attrs", "numpy",
    "obstore", "platformdirs", "sglang", "vllm", "kregistry", "kregistry_plugins", "subprocess", "typing", "evil",
)  # fmt: skip
PACKAGES = ("kregistry", "deep_gemm", "encodings", "triton")
#: Names under which a compiler, the loader's tools or Python's own look for programs.
PROGRAMS = (
    "nvcc", "cc", "gcc", "g++", "c++", "cpp", "clang", "as", "ld", "collect2", "cicc", "ptxas", "cudafe++", "fatbinary",
    "nvlink", "cuobjdump", "nvdisasm", "ldd", "ldconfig", "objdump", "sh", "bash", "cat", "cp", "rm", "cksum", "python",
    "python3", "git", "lscpu", "uname", "nvidia-smi", "kregistry",
)  # fmt: skip
NAMES = ("$(touch MARK)", "`touch MARK`", ";touch MARK;", "-o", "--help", "a\nb", "*")
#: The places from which commands read; "." is the current directory, with the manifest and every other input.
PLACES = (
    ".", "store", "store/kernels", "store/plans", "store/builds", "store/claims", "store/broken", "jit", "jit/cache",
    "tmp", "home", "home/.config", "home/.local/bin", "xdg", "xdg/kregistry", "xdg/kregistry/headers", "remote",
    "remote/v1", "remote/v1/kernels", "made",
)  # fmt: skip
SCRIPT = str(Path(sys.executable).with_name("kregistry"))
ENTRY = "{type: tf32_hc_prenorm_gemm, label: '$(touch MARK)', shape: {n: 24, k: 256}, m: {stop: 4}}"

Line = tuple[int, str]
#: Exit code, and command.
READS: Sequence[Line] = (
    (0, "check"),
    (0, "check {here}/labels.yaml"),
    (0, "init --config config.json --engine sglang --tp 8 -o made/init.yaml"),
    (0, "init --config {here}/config.json --engine vllm --tp 8"),
    (2, "init --config nowhere.json --engine sglang"),
    (0, "init --example -o made/example.yaml"),
    (0, "monitor jit.jsonl"),
    (0, "list"),
    (0, "schema"),
    (0, "targets"),
    (0, "docs security"),
    (0, "completion bash"),
    (0, "keygen -o made/key.pem"),
    (0, "stats"),
    (0, "gc --older-than 30d"),
    (0, "new-plugin mine --directory made/mine"),
    (1, "lookup remote --lock kernels.lock"),
    (1, "pull remote?unsigned --lock kernels.lock"),
    (1, "bundle --tar made/bundle.tar.gz --lock kernels.lock"),
)  # fmt: skip
PLANS: Sequence[Line] = (
    (0, "plan -o kernels.lock --sources"),
    (0, "plan --check kernels.lock"),
    (3, "warmup"),
)
BUILDS: Sequence[Line] = (
    (0, "plan -o kernels.lock --sources"),
    (0, "doctor"),
    (1, "verify"),
    (0, "stub -t h100 -- {python} {script}"),
    (2, "record --stub h100 -o made/recorded.yaml -- {python} {script}"),
    (0, "build"),
    (0, "build --paranoid --replan --remote ./remote?unsigned"),
    (0, "build --lock kernels.lock --store other"),
    (0, "verify"),
    (0, "show"),
    (0, "show kernels.yaml:6 m=3"),
    (0, "show kernels.lock"),
    (0, "report -o made/report.html --against kernels.lock --monitor jit.jsonl --trace made/trace.json"),
    (0, "report kernels.lock -o made/lock.html"),
    (0, "push ./remote?unsigned"),
    (0, "lookup remote"),
    (0, "pull remote?unsigned --store third"),
    (0, "bundle --tar made/bundle.tar.gz"),
    (0, "bundle --oci made/image"),
    (0, "bundle --wheel made/kernels-1-py3-none-any.whl"),
    (0, "verify --remote ./remote?unsigned"),
    (0, "audit --sample 1"),
    (0, "pull made/bundle.tar.gz?unsigned --store fourth --lock kernels.lock"),
    (0, "doctor --bundle made/report.tar.gz"),
    (3, "rehearse sglang -- --model-path {here}"),
    (0, "conformance tf32_hc_prenorm_gemm"),
)


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Path]:
    """A directory whose every file leaves a mark if it runs, and whose own name is a command for shells."""
    directory = tmp_path / 'x "$(touch MARK)" `touch MARK`; touch MARK'
    for place in PLACES:
        (directory / place).mkdir(parents=True, exist_ok=True)
        plant(directory / place, tmp_path / "MARK")
    (directory / "kernels.yaml").write_text(
        f"version: 1\ntarget: h100\nmodels:\n  tiny:\n    kernels:\n      - {ENTRY}\n"
    )
    (directory / "labels.yaml").write_text(MANIFEST.replace("label: q_b", 'label: "$(touch MARK)"'))
    (directory / "config.json").write_text(json.dumps(CONFIG))
    (directory / "jit.jsonl").write_text(json.dumps({**EVENT, "process": "`touch MARK`"}) + "\n")
    (directory / "kernels.lock").write_text(json.dumps(PLAN))
    yield directory
    assert_nothing_ran(directory, "the end")


def plant(place: Path, mark: Path) -> None:
    """Files that would run if anything looked for a program, a module or a configuration in this directory."""
    says = f"open({str(mark)!r}, 'a').write(__file__ + '\\n')\n"
    for name in MODULES:
        (place / f"{name}.py").write_text(says)
    for name in PACKAGES:
        if not (place / name).exists():
            (place / name).mkdir()
        (place / name / "__init__.py").write_text(says)
    for name in PROGRAMS:
        if not (place / name).exists():
            (place / name).write_text(f'#!/bin/sh\necho "$0" >>{shlex.quote(str(mark))}\nexit 1\n')
            (place / name).chmod(0o755)
    for name in NAMES:
        (place / name).touch()
    (place / "evil.pth").write_text(f"import os; {says}".replace("__file__", "'pth'"))
    (place / "pytest.ini").write_text("[pytest]\naddopts = -p evil\n")
    (place / "setup.cfg").write_text("[tool:pytest]\naddopts = -p evil\n")
    (place / "evil-1.dist-info").mkdir()
    (place / "evil-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (place / "evil-1.dist-info" / "entry_points.txt").write_text(
        "[kregistry]\nevil = evil\n[pytest11]\nevil = evil\n[kregistry.kernels]\nevil = evil\n"
    )


def assert_nothing_ran(directory: Path, command: str) -> None:
    marks = [*directory.parent.rglob("MARK"), *Path.cwd().glob("MARK"), *Path(sys.executable).parent.glob("MARK")]
    assert not marks, (command, [path.read_text() for path in marks])


def run(directory: Path, line: Line, pythonpath: str | None = None) -> str:
    """A command in that directory, with its home, TMPDIR, caches and store below it; its output."""
    environment = {
        **os.environ,
        "HOME": str(directory / "home"),
        "XDG_CACHE_HOME": str(directory / "xdg"),
        "TMPDIR": str(directory / "tmp"),
        "KREGISTRY_STORE": str(directory / "store"),
        "DG_JIT_CACHE_DIR": str(directory / "jit"),
        "PATH": f":{os.environ['PATH']}:.",  # an empty entry is the current directory, as is "."
    }
    for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
        environment.pop(name, None)
    code, text = line
    script = directory.parent / "script.py"
    script.touch()
    words = [each.format(here=directory, python=sys.executable, script=script) for each in text.split()]
    done = subprocess.run(
        [sys.executable, SCRIPT, *words], cwd=directory, env=environment, capture_output=True, text=True, timeout=250
    )
    assert_nothing_ran(directory, text)
    assert done.returncode == code and "Traceback" not in done.stderr, (text, done.stdout + done.stderr)
    return done.stdout


def test_files_that_are_only_read(planted: Path) -> None:
    for line in READS:
        run(planted, line)


@pytest.mark.stub
def test_plans(planted: Path) -> None:
    for line in PLANS:
        run(planted, line)


@pytest.mark.slow
@pytest.mark.nvcc
@pytest.mark.stub
def test_builds_and_what_follows(planted: Path) -> None:
    for line in BUILDS:
        run(planted, line)


def test_every_command_is_in_a_table() -> None:
    from kregistry.cli import COMMANDS

    assert {text.split()[0] for _, text in (*READS, *PLANS, *BUILDS)} == set(COMMANDS)
