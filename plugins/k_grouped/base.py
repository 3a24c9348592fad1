"""What k-grouped GEMMs share: d[group] += a[rows of the group].T @ b[rows of the group], in one launch for all groups.

The rows of all groups lie one after another in ``a`` and ``b``; ``ks`` says on the host how many each group has, and
``grouped_layout`` the same on the device. SM90 chooses the kernel by the largest group, SM100 by the rows of all
groups together (measured). So that one number decides on each, a launch of the warm-up puts all rows into one group
on SM100, and gives the other groups fewer rows than the largest, or none, on SM90.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import evolve

from kregistry import (
    MK_ALIGNMENT,
    NUM_SMS,
    Arguments,
    Buffers,
    BufferSpec,
    Call,
    Choice,
    Dimension,
    Flag,
    KernelType,
    RunDimension,
    Setting,
    Shape,
    ShapeError,
    Signature,
    Size,
    Value,
)
from kregistry_plugins import calls, compiled_dims, contiguous_rows

if TYPE_CHECKING:
    import torch

OUTPUT = Choice("output", "dtype of what is added to", ("float32", "bfloat16"), default="float32")
#: As of the m-grouped layouts, but DeepGEMM refuses groups that are no multiple of it.
GROUP_ALIGNMENT = evolve(
    MK_ALIGNMENT, meaning=MK_ALIGNMENT.meaning + "; ranges must step by it", choices=tuple(range(32, 257, 32))
)
ACCUMULATE = Flag(
    "accumulate", "whether c is given and added to; DeepGEMM 0.1 and sm90 want it", default=True, needs={False: ">=0.2"}
)
PSUM = evolve(
    contiguous_rows.PSUM, meaning="grouped_layout holds where each group ends, not how many rows it has (sm100)"
)
#: Functions with quantised operands.
QUANTISED = Signature(
    "a, b, d, ks, grouped_layout, c=None, recipe=(1, 1, 128), compiled_dims='mn', use_psum_layout=False, "
    "*args, **kwargs"
)
#: Groups of SM90 are whole blocks of this many rows.
_SM90_ROWS = 128


def rows_dimension(name: str, grain: int) -> Dimension:
    """``m`` or ``n`` of each group's product."""
    operand = "a" if name == "m" else "b"
    return Size(name, f"columns of {operand}: {name} of each group's output m x n", "columns", multiple_of=grain)


class KGroupedGemm(KernelType):
    """A k-grouped GEMM. A launch adds to ``d``: a group without rows leaves its part of ``d`` as it is."""

    settings: ClassVar[tuple[Setting, ...]] = (GROUP_ALIGNMENT, NUM_SMS, *compiled_dims.SETTINGS)
    run_dimension = RunDimension(
        name="k",
        meaning="rows of the largest group on sm90, of all groups together elsewhere: the dimension summed over",
        unit="rows",
        start=_SM90_ROWS,
        step=_SM90_ROWS,
    )
    handles_empty = ""

    def check(self, shape: Shape) -> None:
        if shape.target.arch != "sm90":
            return
        alignment: Any = shape.get("mk_alignment", _SM90_ROWS)
        if _SM90_ROWS % alignment and alignment % _SM90_ROWS:
            hint = "groups of sm90 are multiples of 128 rows: say 128, or a divisor or multiple of it"
            raise ShapeError(self.name, "mk_alignment", f"{alignment} is refused on sm90", hint)
        if shape.get("use_psum_layout"):
            raise ShapeError(self.name, "use_psum_layout", "true is refused on sm90", "leave it out")
        if not shape.get("accumulate", True):
            raise ShapeError(self.name, "accumulate", "false is refused on sm90: c is required", "leave it out")

    def read_m(
        self,
        a: Any,
        b: Any,
        d: torch.Tensor,
        ks: Sequence[int] | None,
        grouped_layout: torch.Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> int:
        if not ks:  # the psum layout may leave them to the device
            return int((a if hasattr(a, "shape") else a[0]).shape[0])
        return sum(ks) if _sums_groups(d) else max(ks)

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        groups, m, n = call.d.shape
        return {
            "num_groups": groups,
            "m": m,
            "n": n,
            "output": calls.dtype_of(call.d),
            "accumulate": call.c is not None,
            "use_psum_layout": call.use_psum_layout,
            **compiled_dims.read(call, compiled_dims.K_GROUPED),
        }

    def empty_result(self, call: Arguments) -> None:
        """No group has rows: d = c, as DeepGEMM does."""
        if call.c is None:
            call.d.zero_()
        elif call.c.data_ptr() != call.d.data_ptr():
            call.d.copy_(call.c)

    def outputs(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        return {"d": buffers.d}

    def fill(self, buffers: Buffers, m: int, generator: torch.Generator) -> None:
        import torch

        for rows, _ in group_rows(buffers.shape, m):
            for name in ("a", "b"):
                size = (rows.stop - rows.start, buffers.shape["m" if name == "a" else "n"])
                values = torch.randn(size, device=generator.device, generator=generator)
                self.store(buffers, name, rows, values)
        if accumulates(buffers.shape):
            buffers.d.normal_(generator=generator)
        buffers.grouped_layout.copy_(torch.tensor(_layout(buffers.shape, m), dtype=torch.int32))

    def reference(self, buffers: Buffers, m: int) -> Mapping[str, torch.Tensor]:
        """The sum with what ``d`` holds, so it must be asked before the launch."""
        import torch

        held = buffers.d.float()
        d = held.clone() if accumulates(buffers.shape) else torch.zeros_like(held)
        for rows, group in group_rows(buffers.shape, m):
            d[group] += self.load(buffers, "a", rows).T @ self.load(buffers, "b", rows)
        return {"d": d}

    @abstractmethod
    def store(self, buffers: Buffers, name: str, rows: slice, values: torch.Tensor) -> None:
        """Write the values [rows, columns] of one group's operand."""

    @abstractmethod
    def load(self, buffers: Buffers, name: str, rows: slice) -> torch.Tensor:
        """The float32 values [rows, columns] of one group's operand."""


def _sums_groups(d: torch.Tensor) -> bool:
    """Whether the rows of all groups together choose the kernel on the GPU that a real call is made on."""
    import torch

    return d.is_cuda and torch.cuda.get_device_capability(d.device)[0] > 9


def common_buffers(shape: Shape, output: str, max_m: int) -> Mapping[str, BufferSpec]:
    """``d`` [num_groups, m, n] and ``grouped_layout`` [num_groups].

    The layout starts with that of a launch at ``max_m``: DeepGEMM 0.2 packs f32 scale factors in a kernel that traps,
    and ends the context of the process, if the sizes of the groups do not add up to the rows.
    """
    groups = shape.num_groups
    return {
        "d": BufferSpec((groups, shape.m, shape.n), output, "output", accumulated=accumulates(shape)),
        "grouped_layout": BufferSpec((groups,), "int32", initial=_layout(shape, max_m), affects_results=False),
    }


def call_at(buffers: Buffers, k: int, a: Any, b: Any, **keywords: Any) -> Call:
    """A launch at ``k``; what is added to is ``d`` itself."""
    c = {"c": buffers.d} if accumulates(buffers.shape) else {}
    compiled = compiled_dims.keywords(buffers.shape, compiled_dims.K_GROUPED)
    arguments = (a, b, buffers.d, list(group_sizes(buffers.shape, k)), buffers.grouped_layout)
    return Call(arguments, {**c, **keywords, **compiled})


def accumulates(shape: Shape) -> bool:
    """Whether a launch adds to ``d``."""
    return bool(shape.get("accumulate", True))


def _layout(shape: Shape, k: int) -> tuple[int, ...]:
    """``grouped_layout`` of a launch at ``k``: the rows of each group, or where each one ends."""
    sizes = group_sizes(shape, k)
    return tuple(itertools.accumulate(sizes)) if shape.get("use_psum_layout") else sizes


def group_sizes(shape: Shape, k: int) -> tuple[int, ...]:
    """Rows of each group in a launch at ``k``."""
    groups = shape.num_groups
    if shape.target.arch != "sm90":
        return (k, *(0,) * (groups - 1))
    half = -(-k // 2 // _SM90_ROWS) * _SM90_ROWS
    return tuple((k, 0, half)[group % 3] for group in range(groups))


def group_rows(shape: Shape, k: int) -> Iterator[tuple[slice, int]]:
    """The rows of each group that has any."""
    start = 0
    for group, size in enumerate(group_sizes(shape, k)):
        if size:
            yield slice(start, start + size), group
        start += size
