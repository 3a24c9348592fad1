"""What the documentation shows is true: manifests load, commands exist, hooks are so, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from kregistry import hookspecs
from kregistry.cli import COMMANDS, cli
from kregistry.errors import ManifestError
from kregistry.manifest.document import parse_document
from kregistry.manifest.reader import read_manifest
from kregistry.registry import Registry
from kregistry.trust.policy import Policy
from tests.docs.blocks import ROOT, Block, blocks


def is_manifest(block: Block) -> bool:
    return not is_policy(block) and "version" in (yaml.safe_load(block.text) or ())


def is_policy(block: Block) -> bool:
    return "\nkeys:\n" in block.text


@pytest.mark.parametrize("block", [each for each in blocks("yaml") if is_policy(each)], ids=str)
def test_policies_are_valid(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "trust.yaml"
    path.write_text(block.text)
    assert Policy.read(path).keys


@pytest.mark.parametrize("block", [each for each in blocks("yaml") if is_manifest(each)], ids=str)
def test_manifests_are_valid(block: Block) -> None:
    read_manifest(parse_document(block.text, str(block)), Registry())


def test_fan_out_is_what_the_text_says() -> None:
    block = next(each for each in blocks("yaml") if "num_splits: [none, 16, occupancy]" in each.text)
    manifest = read_manifest(parse_document(block.text, "doc"), Registry())
    assert sum(entry.kernel_type == "tf32_hc_prenorm_gemm" for entry in manifest.entries) == 6


def test_problems_are_shown_as_they_are_printed() -> None:
    text = """\
version: 1
target: h100
models:
  my-model: {kernels: [
      {type: fp8_gemm_nt, shape: {  n: '7168', k: 16}, m: {stop: 1}}, {
  type: fp8_gem_nt, shape: {n: 8, k: 16}}]}
"""
    with pytest.raises(ManifestError) as caught:
        read_manifest(parse_document(text, "kernels.yaml"), Registry())
    shown = next(each.text for each in blocks("text") if "problems in kernels.yaml" in each.text)
    assert re.sub(r":\d+:\d+:", ":", str(caught.value)) == re.sub(r":\d+:\d+:", ":", shown.strip())


def commands_in(block: Block) -> list[list[str]]:
    lines = [line.partition("#")[0] for line in block.text.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(part)[1:] for part in parts if part.startswith("kregistry")]


@pytest.mark.parametrize("block", [each for each in blocks("sh", "console") if commands_in(each)], ids=str)
def test_commands_and_options_exist(block: Block) -> None:
    for arguments in commands_in(block):
        command = cli.get_command(click.Context(cli), arguments[0])
        assert command is not None, arguments
        known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        own = arguments[1 : arguments.index("--")] if "--" in arguments else arguments[1:]
        for argument in own:
            if argument.startswith("-"):
                assert argument.partition("=")[0] in known, (arguments, sorted(known))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    text = (ROOT / "README.md").read_text()
    assert f"`kregistry {command}" in text or f"`{command}`" in text


def hooks() -> dict[str, tuple[str, ...]]:
    names = [name for name in vars(hookspecs) if name.startswith("kregistry_")]
    return {name: getattr(hookspecs, name).__code__.co_varnames for name in names}


@pytest.mark.parametrize("name", hooks())
def test_every_hook_is_documented_with_its_signature(name: str) -> None:
    assert f"### {name}({', '.join(hooks()[name])})\n" in (ROOT / "docs" / "hooks.md").read_text()


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_blocks_compile_and_import_what_exists(block: Block) -> None:
    compile(block.text, str(block), "exec")
    for line in block.text.splitlines():
        if line.startswith(("import kregistry", "from kregistry")):
            exec(line, {})


def test_links_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path}: {target}"
