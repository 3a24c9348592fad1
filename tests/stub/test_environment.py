"""The dry run gets paths that LD_PRELOAD and ``sh -c`` take literally, whatever those of the user are."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.errors import InputError
from kregistry.scratch import is_literal
from kregistry.stub.environment import stub_environment
from kregistry.target import get_target
from kregistry.toolchain import Toolchain


@pytest.mark.parametrize("name", ["a b", "a:b", 'x"$(touch f)"', "ä"])
def test_a_library_at_a_hostile_path_is_linked(name: str, toolchain: Toolchain, tmp_path: Path) -> None:
    directory, home = tmp_path / name, tmp_path / "home"
    directory.mkdir()
    home.mkdir()
    for library in ("libkregistry_stub.1.so", "libkregistry_nvml.1.so"):
        (directory / library).write_text(library)
    environment = stub_environment(get_target("h100"), toolchain, directory / "libkregistry_stub.1.so", home, {})
    preloaded = Path(environment["LD_PRELOAD"])
    assert is_literal(preloaded) and preloaded.read_text() == "libkregistry_stub.1.so"
    assert preloaded.with_name("libkregistry_nvml.1.so").read_text() == "libkregistry_nvml.1.so"
    with pytest.raises(InputError, match="would pass to a shell"):
        stub_environment(get_target("h100"), toolchain, preloaded, directory, {})
