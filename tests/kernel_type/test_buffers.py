"""BufferSpec: bytes computed without torch equal the storages that torch allocates; borrowed tensors are checked."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_kernel_types import Sample

from kregistry.errors import InputError
from kregistry.kernel_type import BufferSpec, Shape
from kregistry.kernel_type.buffers import ITEM_BYTES, contiguous_strides
from kregistry.registry import Registry
from kregistry.target import TARGETS

torch = pytest.importorskip("torch")

SHAPE = Sample().resolve({"n": 16}, TARGETS["h100"])


@pytest.mark.parametrize("dtype", ITEM_BYTES)
def test_the_bytes_of_every_dtype_are_those_of_torch(dtype: str) -> None:
    assert getattr(torch, dtype).itemsize == ITEM_BYTES[dtype]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_a_contiguous_buffer_has_the_bytes_of_its_storage(sizes: list[int]) -> None:
    spec = BufferSpec(tuple(sizes), "float32")
    tensor = spec.allocate("meta")
    assert tensor.untyped_storage().nbytes() == spec.nbytes
    assert tensor.is_contiguous()
    if 0 not in sizes:
        assert tensor.stride() == contiguous_strides(tuple(sizes))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 5), st.integers(0, 7))
def test_a_strided_buffer_has_the_bytes_of_its_storage(rows: int, columns: int, gap: int, padding: int) -> None:
    strides = (1, rows + gap)
    spec = BufferSpec((rows, columns), "int32", strides=strides)
    assert spec.allocate("meta").untyped_storage().nbytes() == spec.nbytes
    padded = BufferSpec((rows, columns), "int32", strides=strides, storage=spec.storage_elements + padding)
    tensor = padded.allocate("meta")
    assert tensor.untyped_storage().nbytes() == padded.nbytes == spec.nbytes + 4 * padding
    assert (tuple(tensor.shape), tensor.stride()) == ((rows, columns), strides)


def test_a_padded_contiguous_buffer_keeps_its_strides() -> None:
    tensor = BufferSpec((2, 3), "float32", storage=8).allocate("meta")
    assert tensor.stride() == (3, 1) and tensor.untyped_storage().nbytes() == 32


def test_an_initial_value_is_written() -> None:
    assert BufferSpec((3,), "int32", initial=7).allocate("cpu").tolist() == [7, 7, 7]


@pytest.mark.parametrize("target", ["h100", "b200"])
@pytest.mark.parametrize("max_m", [1, 7, 128, 513])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("fp8_gemm_nt", {"n": 576, "k": 7168}),
        ("fp8_gemm_nt", {"n": 24, "k": 784}),
        ("m_grouped_fp8_gemm_nt_contiguous", {"num_groups": 3, "n": 200, "k": 640}),
        ("m_grouped_fp8_gemm_nt_masked", {"num_groups": 3, "n": 200, "k": 640}),
        ("tf32_hc_prenorm_gemm", {"n": 24, "k": 16384, "num_splits": "occupancy"}),
        ("tf32_hc_prenorm_gemm", {"n": 24, "k": 16384}),
    ],
)
def test_the_memory_requirement_is_exact(name: str, values: dict[str, object], max_m: int, target: str) -> None:
    kernel_type = Registry()[name]
    shape = kernel_type.resolve(values, TARGETS[target])
    buffers = kernel_type.allocate_buffers(shape, max_m, "meta")
    allocated = sum(tensor.untyped_storage().nbytes() for tensor in buffers.tensors.values())
    assert kernel_type.memory_requirement(shape, max_m) == allocated


def test_buffers_read_by_attributes() -> None:
    buffers = Sample().allocate_buffers(SHAPE, 4, "meta")
    assert tuple(buffers.a.shape) == (4, 16) and buffers.max_m == 4
    with pytest.raises(AttributeError, match="buffers of sample have no tensor 'q'"):
        _ = buffers.q


@pytest.mark.parametrize("name", ["shape", "max_m", "tensors"])
def test_a_name_that_the_collection_uses_itself_is_refused(name: str) -> None:
    class Taken(Sample):
        def buffers(self, shape: Shape, max_m: int) -> Mapping[str, BufferSpec]:
            return {name: BufferSpec((max_m,), "float32")}

    with pytest.raises(InputError, match=f"sample declares the buffer '{name}', a name that Buffers uses itself"):
        Taken().allocate_buffers(SHAPE, 4, "meta")


def test_a_borrowed_tensor_is_used_as_it_is() -> None:
    weight = torch.ones(16)
    assert Sample().allocate_buffers(SHAPE, 4, "cpu", {"w": weight}).w is weight


@pytest.mark.parametrize(
    ("tensor", "found"),
    [
        (torch.ones(8), "((8,), 'float32', (1,))"),
        (torch.ones(16, dtype=torch.bfloat16), "((16,), 'bfloat16', (1,))"),
        (torch.ones(32)[::2], "((16,), 'float32', (2,))"),
    ],
    ids=["shape", "dtype", "strides"],
)
def test_a_borrowed_tensor_that_does_not_match_is_refused(tensor: torch.Tensor, found: str) -> None:
    with pytest.raises(InputError) as caught:
        Sample().allocate_buffers(SHAPE, 4, "cpu", {"w": tensor})
    assert caught.value.message == (
        f"the tensor given for sample.w has (shape, dtype, strides) {found}, expected ((16,), 'float32', (1,))"
    )
    assert caught.value.hint == "pass the weight exactly as the engine passes it to DeepGEMM"


def test_a_borrowed_tensor_under_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"a tensor is given for sample\.ww, but there is no such buffer") as caught:
        Sample().allocate_buffers(SHAPE, 4, "cpu", {"ww": torch.ones(16)})
    assert caught.value.hint == "did you mean 'w'?"


def test_a_buffer_may_start_with_one_value_for_each_element() -> None:
    assert BufferSpec((3,), "int32", initial=(1, 0, 2)).allocate("cpu").tolist() == [1, 0, 2]
    assert BufferSpec((3,), "int32", initial=(1, 0, 2)).allocate("meta").shape == (3,)
    for shape in ((2,), (3, 1)):
        with pytest.raises(InputError, match="starts with 3 values"):
            BufferSpec(shape, "int32", initial=(1, 0, 2))
