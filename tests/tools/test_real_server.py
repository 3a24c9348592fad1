"""benchmarks/real_server.py with a stand-in for the engines' servers: no time on a GPU is lost to a fault in it."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {"sglang": "sglang/launch_server.py", "vllm": "vllm/entrypoints/cli/main.py"}


class Benchmark:
    """Runs the script."""

    def __init__(self, home: Path) -> None:
        self.work = home / "work"
        self._site = home / "site"
        self._environment = {**os.environ, "PYTHONPATH": f"{self._site}:{ROOT}"}
        for place in MODULES.values():
            path = self._site / place
            path.parent.mkdir(parents=True)
            for package in path.relative_to(self._site).parents[:-1]:  # else an installed engine would be found first
                (self._site / package / "__init__.py").touch()
            shutil.copy(ROOT / "tests" / "support" / "fake_server.py", path)

    def run(self, part: str, *arguments: str, code: int = 0, **variables: str) -> str:
        """What it prints."""
        variables = {**self._environment, **variables}
        done = subprocess.run(
            self._command(part, *arguments), env=variables, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, part: str, *arguments: str) -> subprocess.Popen[bytes]:
        """The same, without waiting for it."""
        return subprocess.Popen(self._command(part, *arguments), env=self._environment, stdout=subprocess.DEVNULL)

    def servers(self) -> list[str]:
        """The servers that run in its directory."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return [each for each in found if str(self.work) in each and "--host" in each]

    def _command(self, *arguments: str) -> list[str]:
        part, *rest = arguments
        return [sys.executable, str(ROOT / "benchmarks" / "real_server.py"), part, "--work", str(self.work), *rest]

    def results(self) -> list[dict[str, Any]]:
        """The lines of its file."""
        return [json.loads(line) for line in (self.work / "results.jsonl").read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Benchmark:
    return Benchmark(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("engine", MODULES)
def test_arms_in_turn(bench: Benchmark, engine: str, tmp_path: Path) -> None:
    arms = "kregistry:cold,kregistry:warm,no-warm-up:warm,engine:cold"
    common = ["--engine", engine, "--arms", arms, "--bursts", "2", "--longest", "100", "--copy", str(tmp_path / "out")]
    printed = bench.run("run", *common, "--env", "FAKE_LIVE=1", "--", "--one-more", "a b")
    results = bench.results()
    assert [each["arm"] for each in results] == arms.split(",")
    assert [each["kernels_before"] for each in results] == [0, 3, 3, 0]
    assert [each["compiled_live"] for each in results] == [1, 0, 0, 1]
    assert results[0]["compiled_live_names"] == ["kernel.live"]
    assert [each["tokens"] for each in results[0]["prompts"]] == [1, 5, 17, 33, 60, 65, 100]
    for each in results:
        assert each["ready_s"] > 0 and len(each["bursts"]) == 2 and each["kregistry"]
        assert "error" not in each and "last_words" not in each
    rows = [line for line in printed.splitlines() if line.startswith("| ") and "kregistry:warm" in line]
    assert len(rows) == 1 and bench.run("table").splitlines()[2:] == printed.splitlines()[-4:]
    logs = (tmp_path / "out" / "logs.txt").read_text()
    assert "--one-more a b" in logs and logs.count("==== ") == 4
    assert (tmp_path / "out" / "results.jsonl").read_text().count("\n") == 4


@pytest.mark.slow
def test_what_goes_wrong_is_one_line_of_the_results(bench: Benchmark) -> None:
    """A server that ends, a manifest that cannot be built, no prompts and no bursts, and no time left."""
    bench.run("run", "--arms", "kregistry:cold", "--env", "FAKE_ENDS=1")
    bench.run("run", "--arms", "manifest:cold,no-warm-up:warm", "--manifests", "none", "--bursts", "0", "--longest=0")
    ended, unbuilt, nothing = bench.results()
    assert ended["ready_s"] is None and ended["last_words"][-1] == "it ends on purpose"
    assert "kregistry build has ended with code 2" in unbuilt["error"]
    assert nothing["ready_s"] and nothing["bursts"] == nothing["prompts"] == [] and nothing["slowest"] is None
    assert "no time left for kregistry:warm" in bench.run("run", "--arms", "kregistry:warm", "--until=-1")
    assert "found kregistry:tepid" in bench.run("run", "--arms", "kregistry:tepid", code=2)
    assert "not ready" in bench.run("table")


def test_tracebacks_of_the_engine_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    servers = importlib.import_module("real_server_parts.servers")
    own = 'Traceback (most recent call last):\n  File "/site/vllm/a.py", line 1, in f\n    g()\nValueError: own\n'
    ours = own.replace("vllm/a.py", "kregistry/integrations/ahead.py") + '  File "/site/kregistry/b.py", in a message\n'
    log = tmp_path / "log"
    for text, count in ((own, 0), (ours, 1), (own + ours + own + ours, 2)):
        log.write_text(text)
        assert servers.read_log(log, 0.0)["tracebacks"] == count


def test_lines_of_a_log_name_no_path_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    servers = importlib.import_module("real_server_parts.servers")
    log = tmp_path / "model" / "log"
    log.parent.mkdir()
    log.write_text(f"kregistry: building: {tmp_path}/model/store/build.log\n")
    assert servers.read_log(log, 0.0)["kregistry"] == ["kregistry: building: DIR/model/store/build.log"]


@pytest.mark.slow
def test_results_of_several_commands_are_one_table(bench: Benchmark, tmp_path: Path) -> None:
    """Copied from several machines, one of them twice, and one cut while it was written."""
    for number, arm in enumerate(("kregistry:cold", "no-warm-up:warm")):
        place = ("--copy", str(tmp_path / "all" / str(number)))
        printed = bench.run("run", "--arms", arm, "--bursts", "1", "--longest", "1", "--env", f"A={number}", *place)
        assert len(printed) < 1500 and f"{arm}: " in printed
    (tmp_path / "all" / "2").mkdir()
    shutil.copy(tmp_path / "all" / "0" / "results.jsonl", tmp_path / "all" / "2")
    with (tmp_path / "all" / "1" / "results.jsonl").open("a") as file:
        file.write('{"engine": "sg')
    bench.work = tmp_path / "all"
    _, _, ours, base = bench.run("table").splitlines()
    assert "| kregistry:cold A=0 |" in ours and "| no-warm-up:warm A=1 |" in base and "| - | 3 |" not in ours


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_benchmark_leaves_no_server(bench: Benchmark, how: signal.Signals) -> None:
    """It would hold the GPU that the next command needs."""
    running = bench.start("run", "--arms", "kregistry:cold", "--bursts", "100000")
    while not (found := bench.servers()):
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(how)
    assert running.wait(60) == -how
    until = time.monotonic() + 60
    while bench.servers():
        assert time.monotonic() < until, found
        time.sleep(0.05)


@pytest.mark.slow
def test_a_server_is_asked_until_the_time_is_over(bench: Benchmark) -> None:
    """What was measured by then is kept, and no arm begins that would end later."""
    began = time.monotonic()
    printed = bench.run("run", "--arms", "kregistry:cold,kregistry:warm", "--bursts", "100000", "--until", "8")
    [result] = bench.results()
    assert result["cut"] and result["ready_s"] and len(result["bursts"]) > 0
    assert "no time left for kregistry:warm" in printed and time.monotonic() - began < 60
