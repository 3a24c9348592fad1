"""A plugin outside of this repository: built, installed and proven in an environment of its own."""

from __future__ import annotations

import filecmp
import json
from collections import Counter
from pathlib import Path

import pytest
from third_party import ThirdParty

from kregistry.errors import InputError
from kregistry.scaffold import PluginNames, write_plugin

YAML_WORDS = ("null", "true", "false", "on", "off", "yes", "no", "y", "n")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "kregistry-example-gemm"


@pytest.fixture(scope="module")
def third_party(tmp_path_factory: pytest.TempPathFactory) -> ThirdParty:
    return ThirdParty(tmp_path_factory.mktemp("third-party") / "venv")


@pytest.mark.slow
def test_the_example_is_built_installed_and_proven(third_party: ThirdParty, tmp_path: Path) -> None:
    third_party.install(EXAMPLE)
    command_line = "from kregistry.cli import main; main()"
    listed = third_party.run("-c", command_line, "list", "example_gemm", "--json", cwd=tmp_path)
    (entry,) = json.loads(listed)["kernel_types"]
    assert (entry["distribution"], entry["version"]) == ("kregistry-example-gemm", "0.1.0")
    (tmp_path / "kernels.yaml").write_text(
        "{version: 1, target: h100, models: {mine: {kernels: "
        "[{type: example_gemm, shape: {n: 2112, k: 7168}, m: {stop: 64}}]}}}"
    )
    plan = json.loads(third_party.run("-c", command_line, "plan", "--json", cwd=tmp_path))
    assert {kernel["name"] for kernel in plan["kernels"].values()} == {"sm90_bf16_gemm"}
    assert [entry["type"] for entry in plan["entries"]] == ["example_gemm"]
    report = tmp_path / "report.jsonl"
    options = ("-p", "no:cacheprovider", "--kregistry-require=stub", f"--kregistry-report={report}")
    third_party.run("-m", "pytest", *options, "--rootdir", str(EXAMPLE), str(EXAMPLE / "tests"), cwd=tmp_path)
    records = [json.loads(line) for line in report.read_text().splitlines()]
    assert {each["distribution"] for each in records} == {"kregistry-example-gemm"}
    levels = Counter(each["level"] for each in records if each["outcome"] == "passed")
    assert levels["anywhere"] > 50 and levels["stub"] == 20


@pytest.mark.slow
def test_a_new_plugin_passes_its_own_tests_as_generated(third_party: ThirdParty, tmp_path: Path) -> None:
    files = write_plugin("quick-start", tmp_path)
    directory = files[0].parent
    third_party.install(directory)
    output = third_party.run("-m", "pytest", "-p", "no:cacheprovider", cwd=directory)
    assert "quick_start (kregistry-quick-start 0.1.0)" in output
    assert "0 failed" in output


def test_the_example_is_what_new_plugin_writes(tmp_path: Path) -> None:
    files = write_plugin("example-gemm", tmp_path)
    names = [str(path.relative_to(tmp_path / EXAMPLE.name)) for path in files]
    assert filecmp.cmpfiles(tmp_path / EXAMPLE.name, EXAMPLE, names, shallow=False) == (names, [], []), (
        "write it anew: kregistry new-plugin example-gemm --directory examples"
    )


def test_names_follow_from_one() -> None:
    assert PluginNames.from_name("my-gemm") == PluginNames(
        "kregistry-my-gemm", "kregistry_my_gemm", "my_gemm", "MyGemm"
    )
    assert PluginNames.from_name("kregistry-my-gemm") == PluginNames.from_name("my-gemm")


@pytest.mark.parametrize("name", ["", "My", "1st", "a_b", "a--b", "class", "../x"])
def test_a_bad_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name of a plugin: expected"):
        write_plugin(name, tmp_path)


def test_a_name_with_other_separators_has_the_right_one_as_its_hint(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_plugin("My_gemm nt", tmp_path)
    assert caught.value.hint == "did you mean 'my-gemm-nt'?"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("plugins", "its module kregistry_plugins would hide the one that kregistry installs"),
        ("kregistry-plugins", "its module kregistry_plugins would hide the one that kregistry installs"),
        *((word, f"YAML does not read {word} as text") for word in YAML_WORDS),
        ("none", "its class None would hide a name of Python or of kregistry"),
        ("buffer-spec", "its class BufferSpec would hide a name of Python or of kregistry"),
        ("registry", "its class Registry would hide a name of Python or of kregistry"),
    ],
)
def test_a_name_that_means_something_else_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_plugin(name, tmp_path)
    assert caught.value.message == f"name of a plugin: {name!r} cannot be used: {reason}"
    assert not any(tmp_path.iterdir())


def test_an_existing_directory_is_left_alone(tmp_path: Path) -> None:
    write_plugin("my-gemm", tmp_path)
    with pytest.raises(InputError, match="exists"):
        write_plugin("my-gemm", tmp_path)
