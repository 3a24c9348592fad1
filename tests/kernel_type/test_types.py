"""The types that an author of a plugin sees, through mypy, in a project of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

#: Like a plugin that `kregistry new-plugin` writes, with annotations; the comments say what mypy must reveal.
AUTHOR = """
from collections.abc import Mapping

import kregistry
from kregistry import (
    NUM_SMS, ArchSupport, Arguments, Buffers, BufferSpec, Choice, Flag, Gemm, KernelType, Proof, Registry, Setting,
    Shape, Signature, Size, Value, get_target, hookimpl,
)

OUTPUT = Choice("output", "dtype of the output", ("bfloat16", "float32"), default="bfloat16")
FAST = Setting("fast", get="get_fast", set="set_fast", default=False)


class MyGemm(Gemm):
    name = "my_gemm"
    summary = "dense BF16 GEMM"
    dimensions = (Size("n", "columns", multiple_of=8), Size("k", "columns", multiple_of=8), OUTPUT, Flag("x", "a flag"))
    settings = (NUM_SMS, FAST)
    function_names = ("bf16_gemm_nt",)
    signature = Signature("a, b, d, c=None")
    archs = (ArchSupport("sm90"), ArchSupport("sm100"))
    proof = Proof(examples=({"n": 256, "k": 512, "x": True},), tolerance=1e-4)

    def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
        reveal_type(shape["n"])  # int | str | bool | None
        reveal_type(shape.target)  # kregistry.target.Target
        reveal_type(shape.shown())  # builtins.dict[builtins.str, int | str | bool | None]
        reveal_type(shape.at(self.dimensions[0], 3))  # int | None
        return {"d": BufferSpec((max_m, shape.n), "bfloat16", "output")}

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        n, k = call.b.shape
        return {"n": n, "k": k}

    def reference(self, buffers: Buffers, m: int) -> int:  # an error: not the type of the contract
        reveal_type(buffers.max_m)  # int
        return 0


@hookimpl
def kregistry_kernel_types() -> list[KernelType]:
    return [MyGemm()]


kernel_type = MyGemm()
reveal_type(kernel_type.resolve({"n": 8}, get_target("h100")))  # kregistry.kernel_type.shape.Shape
reveal_type(kernel_type.all_dimensions)  # tuple[kregistry.kernel_type.dimension.Dimension, ...]
reveal_type(kernel_type.proof.tolerance)  # float
reveal_type(MyGemm.settings)  # tuple[kregistry.kernel_type.setting.Setting, kregistry.kernel_type.setting.Setting]
reveal_type(NUM_SMS.dimension)  # kregistry.kernel_type.dimension.Dimension
reveal_type(MyGemm.signature.bind((1, 2, 3), {}))  # kregistry.kernel_type.signature.Arguments
reveal_type(Registry()["my_gemm"])  # kregistry.kernel_type.contract.KernelType
reveal_type(kregistry.warmup("kernels.yaml"))  # kregistry.warm_up.warmup_report.WarmupReport
Size("n", "columns", multiple="8")  # an error: no such parameter
Choice("n", "columns", choices=8)  # an error: not a tuple
Setting("n", default=3)  # an error: no function that sets it
"""
CONFIG = "[mypy]\nstrict = True\n[mypy-torch.*]\nfollow_imports = skip\nignore_missing_imports = True\n"


def plain(text: str) -> str:
    """Types as they are shown by every version of mypy."""
    text = text.replace("builtins.", "")
    return re.sub(r"Union\[([^\]]*)\]", lambda found: found.group(1).replace(", ", " | "), text)


def test_an_author_sees_the_types_of_kregistry(tmp_path: Path) -> None:
    (tmp_path / "mypy.ini").write_text(CONFIG)
    (tmp_path / "my_gemm.py").write_text(AUTHOR)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", "my_gemm.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    lines = AUTHOR.splitlines()
    revealed, errors = {}, []
    for line in done.stdout.splitlines():
        place = re.match(r"my_gemm\.py:(\d+): (\w+): (.*)", line)
        assert place, done.stdout + done.stderr
        number, kind, text = int(place[1]), place[2], place[3]
        if text.startswith("Revealed type is"):
            revealed[number] = plain(text.split('"')[1])
        elif kind == "error":
            errors.append(number)
    wanted = {
        number: plain(line.partition("  # ")[2])
        for number, line in enumerate(lines, 1)
        if line.strip().startswith("reveal_type")
    }
    assert revealed == wanted
    assert sorted(set(errors)) == [number for number, line in enumerate(lines, 1) if "# an error" in line], done.stdout
