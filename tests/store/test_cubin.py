"""The cubin parser, on a real cubin: whole, cut at every place, and of another kind."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kregistry.store.cubin import DamagedCubin, kernels_in, single_kernel
from kregistry.toolchain import Toolchain

SOURCES = {
    "one": 'extern "C" __global__ void alpha(int *p) { *p = 1; }\n',
    "two": 'extern "C" { __global__ void alpha(int *p) { *p = 1; }\n__global__ void beta(int *p) { *p = 2; } }\n',
    "none": "__device__ int x;\n",
}


@pytest.fixture(scope="session")
def cubins(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What nvcc makes of sources with one, two and no kernels."""
    directory = tmp_path_factory.mktemp("cubins")
    found = {}
    for name, source in SOURCES.items():
        (directory / f"{name}.cu").write_text(source)
        output = directory / f"{name}.cubin"
        command = [str(toolchain.cuda.nvcc), "-cubin", "-arch=sm_90a", "-o", str(output), f"{directory / name}.cu"]
        subprocess.run(command, check=True, capture_output=True)
        found[name] = output.read_bytes()
    return found


def test_a_whole_cubin(cubins: dict[str, bytes]) -> None:
    assert kernels_in(cubins["one"]) == ("alpha",)
    assert single_kernel(cubins["one"]) == "alpha"


def test_the_cubin_of_deep_gemm(cubin: bytes) -> None:
    assert "sm90_tf32_hc_prenorm_gemm" in single_kernel(cubin)


def test_another_number_of_kernels_is_refused(cubins: dict[str, bytes]) -> None:
    assert sorted(kernels_in(cubins["two"])) == ["alpha", "beta"]
    for name, count in (("two", 2), ("none", 0)):
        with pytest.raises(DamagedCubin) as caught:
            single_kernel(cubins[name])
        assert str(caught.value) == f"the cubin holds {count} kernels, but DeepGEMM loads only cubins with one"


def test_a_cut_cubin_is_refused_wherever_it_is_cut(cubins: dict[str, bytes]) -> None:
    whole = cubins["one"]
    needed = len(whole.rstrip(b"\0"))
    for length in [*range(0, needed, 7), *range(max(0, needed - 64), needed)]:
        with pytest.raises(DamagedCubin):
            kernels_in(whole[:length])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "an empty file"),
        (b"hello", "not an ELF file"),
        (b"\x7fELF\x02\x01", "the ELF header is cut short"),
        (b"\x7fELF\x01\x01" + bytes(100), "not an ELF file"),
    ],
)
def test_what_is_no_elf_is_named(content: bytes, text: str) -> None:
    with pytest.raises(DamagedCubin) as caught:
        kernels_in(content)
    assert str(caught.value) == text


def test_an_elf_for_another_machine_is_refused() -> None:
    content = Path(sys.executable).resolve().read_bytes()
    machine = struct.unpack_from("<H", content, 18)[0]
    with pytest.raises(DamagedCubin) as caught:
        kernels_in(content)
    assert str(caught.value) == f"an ELF file for machine {machine}, not for a GPU (190)"


def test_sections_and_names_that_are_cut_are_distinguished(cubins: dict[str, bytes]) -> None:
    whole = bytearray(cubins["one"])
    with pytest.raises(DamagedCubin, match="a section is cut short"):
        header = struct.Struct("<16sHHIQQQIHHHHHH")
        fields = list(header.unpack_from(whole))
        table, size, count = fields[6], fields[11], fields[12]
        moved = bytes(whole[table : table + size * count])
        fields[5], fields[6], fields[10] = 0, header.size, 0
        kernels_in(header.pack(*fields) + moved)
    struct.pack_into("<H", whole, 62, 0xFFF0)
    with pytest.raises(DamagedCubin, match="there are no section names"):
        kernels_in(bytes(whole))
    struct.pack_into("<Q", whole, 40, 1 << 40)
    with pytest.raises(DamagedCubin, match="the section table is cut short"):
        kernels_in(bytes(whole))


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.data())
def test_a_flipped_byte_never_surprises(cubins: dict[str, bytes], data: st.DataObject) -> None:
    content = bytearray(cubins["one"])
    position = data.draw(st.integers(0, 63) | st.integers(0, len(content) - 1))
    content[position] = data.draw(st.integers(0, 255))
    try:
        kernels_in(bytes(content))
    except DamagedCubin as error:
        assert str(error)
