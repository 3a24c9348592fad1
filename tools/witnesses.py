"""Two witnesses: rehearses the settings of witnesses.yaml (tests/data), and compares them with `kregistry init`.

Usage: python tools/witnesses.py [--only WORD]    run the engines (an environment as of .ci/engines), rewrite the file
       python tools/witnesses.py --table           write the table of docs/rehearsal.md from the file

A difference that is new gets the reason "?", which a test refuses: say why, or mend the formulas or the rehearsal.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from kregistry.cli import main as command_line

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data" / "rehearsal"
FILE = DATA / "witnesses.yaml"
PAGE = ROOT / "docs" / "rehearsal.md"
BEGIN, END = "<!-- witnesses: begin -->", "<!-- witnesses: end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="only the settings whose name has this word")
    parser.add_argument("--table", action="store_true", help="write the table of the page")
    given = parser.parse_args()
    settings = yaml.safe_load(FILE.read_text())
    if not given.table:
        update_those_with(given.only, settings)
    page = PAGE.read_text()
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table(settings)}{END}{after}")


def update_those_with(word: str, settings: list[dict[str, Any]]) -> None:
    """Run the witnesses of the settings whose name has a word, and write the file after each."""
    from forked_rehearsals import ForkedRehearsals

    with ForkedRehearsals() as forks, forks.used():
        for setting in together(settings):
            if word in name(setting):
                print(name(setting), file=sys.stderr)
                update(setting)
                FILE.write_text(text(settings))


def together(settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Settings in an order where those of one engine, target and environment are together."""
    return sorted(settings, key=lambda each: [each["target"], each["engine"], str(each.get("environment", {}))])


def name(setting: dict[str, Any]) -> str:
    """``"deepseek-v3 sglang --tp-size 8 h100"``."""
    return f"{setting['model']} {setting['engine']} {setting['arguments']} {setting['target']}"


def update(setting: dict[str, Any]) -> None:
    """Run both witnesses; the reasons of differences that are still there stay."""
    if "fails" in setting:
        return
    with tempfile.TemporaryDirectory() as scratch:
        counts, lines = witnesses(setting, Path(scratch))
    reasons = {each["difference"]: each["why"] for each in setting.get("differences") or ()}
    setting.update(counts)
    setting["differences"] = [{"difference": line, "why": reasons.get(line, "?")} for line in lines]


def witnesses(setting: dict[str, Any], scratch: Path) -> tuple[dict[str, int], list[str]]:
    """How many entries each finds, and the differences: formula -> rehearsal. The manifests are left in ``scratch``."""
    formula, rehearsed = scratch / "formula.yaml", scratch / "rehearsed.yaml"
    config, engine = str(DATA / "configs" / setting["model"] / "config.json"), setting["engine"]
    target = ("--target", setting["target"])
    run("init", "--config", config, "--engine", engine, *target, "-o", str(formula), *setting["init"].split())
    out = run(*rehearsal(setting, "--diff", str(formula), "-o", str(rehearsed)), environment=setting)
    counts = {"formula": entries(formula), "rehearsed": entries(rehearsed)}
    return counts, [line for line in out.splitlines() if line[:2] in ("+ ", "- ", "~ ")]


def rehearsal(setting: dict[str, Any], *options: str) -> tuple[str, ...]:
    """The words of ``kregistry rehearse`` for a setting."""
    engine, folder = setting["engine"], DATA / "configs" / setting["model"]
    model = "--model-path" if engine == "sglang" else "--model"
    arguments = setting["arguments"].split()
    return ("rehearse", engine, "--target", setting["target"], *options, "--", model, str(folder), *arguments)


def entries(file: Path) -> int:
    """The entries of the one model of a manifest."""
    (model,) = yaml.safe_load(file.read_text())["models"].values()
    return len(model["kernels"])


def run(*arguments: str, environment: dict[str, Any] | None = None) -> str:
    """A command of kregistry in this process, with the variables of a setting; what it prints."""
    out, err = io.StringIO(), io.StringIO()
    variables = (environment or {}).get("environment", {})
    with (
        mock.patch.dict(os.environ, variables),
        mock.patch.object(sys, "argv", ["kregistry", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            command_line()
        except SystemExit as end:
            if end.code:
                raise SystemExit(f"kregistry {' '.join(arguments)}\n{err.getvalue()}") from end
    return out.getvalue()


def text(settings: list[dict[str, Any]]) -> str:
    """The file, with its comment."""
    lines = FILE.read_text().splitlines(keepends=True)
    head = "".join(line for line in lines if line.startswith("#"))
    return head + yaml.safe_dump(settings, sort_keys=False, width=110, allow_unicode=True)


def table(settings: list[dict[str, Any]]) -> str:
    """The table of the page: a row for each setting, and a list of the differences with their reasons."""
    rows = ["| model | engine | arguments | GPU | rehearsed | formula | differences |", "|---|---|---|---|---|---|---|"]
    why: dict[str, list[str]] = {}
    for setting in settings:
        found = setting.get("differences", ())
        counts = "does not run" if "fails" in setting else f"{setting['rehearsed']} | {setting['formula']}"
        end = "- | -" if "fails" in setting else str(len(found) or "none")
        variables = [f"{key}={value}" for key, value in setting.get("environment", {}).items()]
        words = " ".join([*variables, setting["arguments"]])
        rows.append(
            f"| {setting['model']} | {setting['engine']} | `{words}` | {setting['target']} | {counts} | {end} |"
        )
        if "fails" in setting:
            why.setdefault(setting["why"], []).append(f"{setting['model']} {setting['engine']}: `{setting['fails']}`")
        for each in found:
            why.setdefault(each["why"], []).append(f"{setting['model']} {setting['engine']}: `{each['difference']}`")
    lines = [*rows, ""]
    for reason, places in why.items():
        lines += [f"* {reason}", *(f"  * {place}" for place in places)]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
