"""kregistry.cli.next_command: a hint goes on with the file and the options of the command that gives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.cli import cli
from kregistry.cli.next_command import next_command


def _hint(arguments: str, name: str, *words: str) -> str:
    root = cli.make_context("kregistry", ["list"])
    first, *rest = arguments.split()
    command = cli.get_command(root, first)
    assert command is not None
    with root, command.make_context(first, rest, parent=root):
        return next_command(name, *words)


@pytest.mark.parametrize(
    ("arguments", "name", "line"),
    [
        ("verify", "build", "kregistry build"),
        ("verify small.yaml --engine sglang", "build", "kregistry build small.yaml --engine sglang"),
        (
            "verify a.yaml -m x -m y -t h20 --plugin a=b --store s --cache-dir c --json -q --allow-broken",
            "build",
            "kregistry build a.yaml --model x --model y --target h20 --plugin a=b --store s --cache-dir c",
        ),
        ("show -f a.yaml o_proj", "build", "kregistry build a.yaml"),
        ("pull s3://b a.yaml --store s", "build", "kregistry build a.yaml --store s"),
        ("pull s3://b a.yaml -t h20 --lock k.lock", "build", "kregistry build --lock k.lock"),
        ("lookup s3://b a.yaml", "push", "kregistry push s3://b a.yaml"),
        ("plan a.yaml --check k.lock -t h20", "plan", "kregistry plan a.yaml --target h20 -o k.lock"),
        ("build a.yaml --lock k.lock", "build", "kregistry build --lock k.lock"),
        ("verify a.yaml --cache-dir c", "pull", "kregistry pull s3://b a.yaml"),
    ],
)
def test_what_is_repeated(arguments: str, name: str, line: str) -> None:
    words = {"push": ("s3://b",), "pull": ("s3://b",), "plan": ("-o", "k.lock")}.get(name, ())
    assert _hint(arguments, name, *words) == line


def test_a_variable_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KREGISTRY_STORE", "/s")
    assert _hint("verify", "build") == "kregistry build"


def test_a_name_that_a_shell_would_split(tmp_path: Path) -> None:
    root = cli.make_context("kregistry", ["list"])
    command = cli.get_command(root, "verify")
    assert command is not None
    with root, command.make_context("verify", ["my model.yaml"], parent=root):
        assert next_command("build") == "kregistry build 'my model.yaml'"


def test_without_a_command() -> None:
    assert next_command("build", "a.yaml") == "kregistry build a.yaml"
