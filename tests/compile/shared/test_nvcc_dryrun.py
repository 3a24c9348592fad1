"""What nvcc --dryrun prints, taken apart; anything but front end, PTX, assembler is not understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from kregistry.compile.shared.cannot_share import CannotShare
from kregistry.compile.shared.nvcc_dryrun import parse_dry_run

OUTPUT = Path("/s/kernel.cubin")
GOOD = """\
#$ _SPACE_=
#$ CICC_PATH=/cuda/nvvm/bin
#$ PATH=/cuda/bin:/usr/bin
#$ gcc -E -I"/a b/include" "/s/kernel.cu" -o "/s/t.ii"
#$ "$CICC_PATH/cicc" -arch compute_90a "/s/t.ii" -o "/s/t.ptx"
#$ ptxas -arch=sm_90a -m64  "/s/t.ptx"  -o "/s/kernel.cubin"
"""


def test_steps() -> None:
    commands = parse_dry_run(GOOD, OUTPUT)
    assert commands.environment == {"_SPACE_": "", "CICC_PATH": "/cuda/nvvm/bin", "PATH": "/cuda/bin:/usr/bin"}
    assert commands.preprocess == ("gcc", "-E", "-I/a b/include", "/s/kernel.cu", "-o", "/s/t.ii")
    assert commands.generate == ("/cuda/nvvm/bin/cicc", "-arch", "compute_90a", "/s/t.ii", "-o", "/s/t.ptx")
    assert (commands.preprocessed, commands.ptx) == ("/s/t.ii", "/s/t.ptx")
    assert commands.assemble(Path("/p/k.ptx"), Path("/p/k.cubin")) == [
        "ptxas", "-arch=sm_90a", "-m64", "/p/k.ptx", "-o", "/p/k.cubin"
    ]  # fmt: skip


def test_files_without_their_directory() -> None:
    """The assembler's own output is no file of the front end."""
    commands = parse_dry_run(GOOD, OUTPUT).without_directory(Path("/s"))
    assert commands.generate == ("/cuda/nvvm/bin/cicc", "-arch", "compute_90a", "t.ii", "-o", "t.ptx")
    assert (commands.preprocessed, commands.ptx) == ("t.ii", "t.ptx")
    assert commands.assembler == ("ptxas", "-arch=sm_90a", "-m64", "t.ptx", "-o", "/s/kernel.cubin")


@pytest.mark.parametrize("name", ["t.ii", "t.ptx"])
def test_files_elsewhere(name: str) -> None:
    commands = parse_dry_run(GOOD.replace(f"/s/{name}", f"/tmp/{name}"), OUTPUT)
    with pytest.raises(CannotShare, match=rf"^nvcc puts .*/tmp/{name}.* elsewhere than asked for$"):
        commands.without_directory(Path("/s"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nvcc fatal: no such option", "nvcc --dryrun says 'nvcc fatal: no such option'"),
        ("#$ PATH=/bin\n#$ ptxas a.ptx -o /s/kernel.cubin", "nvcc --dryrun names 1 commands"),
        (GOOD.replace('-o "/s/t.ii"', '-o "/s/u.ii"'), "the first command of nvcc is not a preprocessor: gcc -E"),
        (GOOD.replace("$CICC_PATH", "$OTHER"), "a variable that it does not set"),
        (GOOD + '#$ fatbinary "/s/kernel.cubin" -o /s/x\n', "nvcc --dryrun names 4 commands: fatbinary /s/kernel"),
        (GOOD.replace("ptxas", 'ptxas "/s/u.ptx"'), "the last command of nvcc is not an assembler"),
        (GOOD.replace("gcc -E", 'gcc -E -MF "/s/kernel.cubin"'), "a command before the last writes the output"),
    ],
    ids=["words", "one command", "no preprocessor", "variable", "another step", "two PTX", "output written early"],
)
def test_what_is_not_understood(text: str, reason: str) -> None:
    with pytest.raises(CannotShare) as caught:
        parse_dry_run(text, OUTPUT)
    assert reason in str(caught.value)
