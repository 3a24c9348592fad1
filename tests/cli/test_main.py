"""The entry point: help, exit codes, and what happens when something breaks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Result

from kregistry import errors
from kregistry.cli import COMMANDS, EXIT_CODES
from kregistry.store.listing import matching

INTERRUPTED = "error: interrupted; finished work is kept, and the next run continues from there"
ENTRY = "from kregistry.cli import main; main()"
#: The same, where an interrupt is heard: a shell starts what it puts into the background with interrupts ignored.
HEARING = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {ENTRY}"
Run = Callable[..., Result]


def test_help_names_every_command_and_exit_code(kregistry: Run) -> None:
    result = kregistry("--help")
    assert result.code == 0 and result.err == ""
    for name, line in COMMANDS.items():
        assert f"  {name} " in result.out
        assert " ".join(line.split()) in " ".join(result.out.split())
    for code in (0, 1, 2, 3, 4, 5, 6, 70, 130):
        assert f"\n  {code} " in EXIT_CODES and f"\n    {code} " in result.out


def test_every_exit_code_of_an_error_is_documented() -> None:
    classes = [each for each in vars(errors).values() if isinstance(each, type) and hasattr(each, "exit_code")]
    for code in {each.exit_code for each in classes}:
        assert f"\n  {code} " in EXIT_CODES


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(kregistry: Run, name: str) -> None:
    result = kregistry(name, "--help")
    assert result.code == 0
    assert result.out.startswith(f"Usage: kregistry {name} ")
    # These write a document, or run another program.
    documents = ("init", "keygen", "schema", "report", "bundle", "completion", "docs", "record", "stub", "rehearse")
    assert name in documents or "--json" in result.out


def test_the_version(kregistry: Run) -> None:
    import kregistry as package

    result = kregistry("--version")
    assert (result.code, result.out) == (0, f"kregistry, version {package.__version__}\n")


def test_without_a_command_the_help_is_shown(kregistry: Run) -> None:
    result = kregistry()
    assert result.code == 2
    assert "Commands:" in result.out + result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["biuld"], "error: unknown command 'biuld'\nhint: did you mean 'build'?\n"),
        (["zzz"], "error: unknown command 'zzz'\nhint: known commands: " + ", ".join(sorted(COMMANDS)) + "\n"),
        (["--zzz"], "No such option"),
        (["build", "-j", "0"], "Invalid value for '-j' / '--jobs'"),
        (["check", "a", "b"], "unexpected extra argument"),
        (["list", "--plugin", "x"], "error: --plugin: expected TYPE=PLUGIN, got 'x'\nhint: e.g. --plugin fp8_gemm_nt="),
        (["list", "fp8_gem_nt"], "error: unknown kernel type 'fp8_gem_nt'\nhint: did you mean 'fp8_gemm_nt'?\n"),
        (
            ["list", "--plugin", "bf16_gem_nt=bf16_gemm"],
            "error: unknown kernel type 'bf16_gem_nt'\nhint: did you mean 'bf16_gemm_nt'?\n",
        ),
        (
            ["check", "--plugin", "bf16_gemm_nt=bf16_gem"],
            "error: unknown provider of bf16_gemm_nt 'bf16_gem'\nhint: did you mean 'bf16_gemm'?\n",
        ),
        (["check", "-t", "h10"], "error: unknown target 'h10'\nhint: did you mean 'h100'?\n"),
        (["check", "-m", "tiiny"], "error: unknown model 'tiiny'\nhint: did you mean 'tiny'?\n"),
        (["warmup", "-t", "h100", "--memory", "2G"], "error: memory budget: expected a fraction in (0, 1], a percent"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_wrong_input_is_one_message_and_exit_2(
    kregistry: Run, monkeypatch: pytest.MonkeyPatch, tiny_file: Path, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tiny_file.parent)
    result = kregistry(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert message in result.err
    assert "Traceback" not in result.err


def test_a_bug_keeps_its_traceback(kregistry: Run, monkeypatch: pytest.MonkeyPatch, tiny_file: Path) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("kregistry.manifest.load_manifest", bug)
    result = kregistry("check", tiny_file)
    assert result.code == 70
    assert "Traceback (most recent call last):" in result.err and "ZeroDivisionError: a bug" in result.err
    assert result.err.endswith(
        "this is a bug in kregistry or in a plugin: please report it with `kregistry doctor --json`\n"
    )


def test_an_interrupt_is_reported(kregistry: Run, monkeypatch: pytest.MonkeyPatch, tiny_file: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kregistry.manifest.load_manifest", interrupt)
    result = kregistry("check", tiny_file)
    assert result.code == 130
    assert result.err.strip() == INTERRUPTED


@pytest.mark.stub
def test_an_interrupted_build_leaves_nothing_half_done(tiny_file: Path, tmp_path: Path) -> None:
    """A real interrupt, as the terminal sends it: to the whole process group, while kernels compile."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-c", HEARING, "build", "-q", str(tiny_file), "--cache-dir", str(tmp_path / "jit")]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    store = Path(os.environ["KREGISTRY_STORE"])
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not any(matching(store, "tmp/compile.*/*")):
            assert process.poll() is None, process.communicate()
            signal.sigtimedwait([], 0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == INTERRUPTED
    for place in ("tmp", "claims", "kernels"):
        assert list((store / place).iterdir()) == []
    assert list(scratch.iterdir()) == []


def workers_in(scratch: Path) -> list[str]:
    """Ids of the processes of a dry run that use a temporary directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            worker = b"kregistry.stub.fork_server" in (process / "cmdline").read_bytes()
            if worker and str(scratch).encode() in (process / "environ").read_bytes():
                found.append(process.name)
    return found


@pytest.mark.stub
def test_an_interrupted_plan_takes_its_children_along(tmp_path: Path) -> None:
    """The interrupt reaches only the parent, while both children sweep; nothing is left in the temporary directory."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-c", HEARING, "plan", "-q", str(Path(__file__).parents[2] / "kernels.yaml")]
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not any(name.endswith(".cubin") for _, _, names in os.walk(scratch) for name in names):
            assert process.poll() is None, process.communicate()
            signal.sigtimedwait([], 0.05)
        assert workers_in(scratch)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == INTERRUPTED
    assert list(scratch.iterdir()) == []
    assert workers_in(scratch) == []


def test_a_reader_that_goes_away_is_no_bug() -> None:
    code = f"import sys; sys.argv = ['kregistry', 'list', '--json']; {ENTRY}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read().decode()
    assert err == ""
    assert process.returncode == 1


@pytest.mark.parametrize("command", ["check", "plan", "new-plugin"])
@pytest.mark.parametrize("name", ["a" * 300, "x/" * 2000], ids=["name", "path"])
def test_a_name_that_no_file_can_have_is_wrong_input(kregistry: Run, command: str, name: str) -> None:
    result = kregistry(command, name)
    assert result.code == 2 and "Traceback" not in result.err and len(result.err) < 1000
