"""How the operands of a GEMM are quantised, apart from how they lie in memory.

A kernel type inherits one of these next to its layout (dense, contiguous, masked):

* ``Fp8``: FP8, a scale factor for each 128 columns of ``a`` and each 128x128 block or 128 columns of ``b``;
* ``Fp8Block32``: FP8, an f32 scale factor for each 32 columns of ``a`` and each 32x32 block of ``b``;
* ``MxFp8``: FP8, a power of two for each 32 columns of both;
* ``Fp8ByFp4``: FP8 with 128 columns by FP4 with 32;
* ``Fp4``: FP4 with 32 columns both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from kregistry import ArchSupport, Arguments, BufferSpec, Dimension, Shape, Size, Value
from kregistry_plugins import calls
from kregistry_plugins.fp8_gemm import scales
from kregistry_plugins.fp8_gemm.dense import ARCHS, K, Operand, check_fp8_operands, scale_form
from kregistry_plugins.fp8_gemm.workspace import conversion_workspace

K_FP4 = Size("k", "columns of the input: the dimension that is summed over", "columns", multiple_of=128)
_SM120 = ArchSupport("sm120", ">=0.2", "DeepGEMM 0.1 has no GEMM for sm120")
_NO_SM90 = "DeepGEMM asserts: FP4 operands need sm100 or sm120 (layout.hpp)"


class Precision:
    """Operands with packed scale factors by row; the subclasses say how many columns share one, and in which dtype."""

    name: ClassVar[str]
    archs: ClassVar[tuple[ArchSupport, ...]]

    a_group: ClassVar[int] = scales.GROUP
    b_group: ClassVar[int] = scales.GROUP
    a_fp4: ClassVar[bool] = False
    b_fp4: ClassVar[bool] = False
    #: Form of the scale factors, where it is no dimension.
    scale_form: ClassVar[str] = "ue8m0"
    #: Whether f32 scale factors of ``b`` are those of blocks, or of rows as those of ``a``.
    weight_blocks: ClassVar[bool] = True
    output_dtype: ClassVar[str] = "bfloat16"
    #: What says so in a call.
    keywords: ClassVar[Mapping[str, Any]] = {}
    #: Other words for the same recipe, for which DeepGEMM takes the same kernels.
    same_recipe: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    k_dimension: ClassVar[Dimension] = K
    #: Dimensions of the kernel type, and what they are in a real call.
    scale_dimensions: ClassVar[tuple[Dimension, ...]] = ()

    def scale_values(self, a: Operand) -> Mapping[str, Value]:
        return {}

    def check_precision(self, shape: Shape) -> None:
        """Refuse what DeepGEMM refuses on an arch."""

    def activations(self, shape: Shape, rows: int, groups: int | None = None) -> Mapping[str, BufferSpec]:
        """``a`` [groups,] rows, k, and its scale factors ``sfa``."""
        k = shape.k
        form: Any = shape.get("scales", self.scale_form)
        return {
            "a": scales.operand((rows, k), self.a_fp4, groups),
            "sfa": scales.row_scales(form, rows, k, groups, self.a_group),
        }

    def weights(self, shape: Shape, groups: int | None = None) -> Mapping[str, BufferSpec]:
        """``b`` [groups,] n, k, and its scale factors ``sfb``."""
        n, k = shape.n, shape.k
        form: Any = shape.get("scales", self.scale_form)
        sfb = scales.weight_scales(form, n, k, groups, self.b_group, self.weight_blocks)
        return {"b": scales.operand((n, k), self.b_fp4, groups, "weight"), "sfb": sfb}

    def conversion_workspace(self, shape: Shape, rows: int, row_groups: int = 1) -> int:
        return 0

    def check_operands(self, call: Arguments) -> None:
        """Refuse the calls of other kernel types: functions are shared.

        Raises:
            ShapeError: with another dtype or recipe than these.
        """
        for name, operand, fp4 in (("a", call.a, self.a_fp4), ("b", call.b, self.b_fp4)):
            wanted = "int8" if fp4 else "float8_e4m3fn"
            calls.belongs(self.name, f"{name}.dtype", calls.dtype_of(operand[0]), (wanted,))
        calls.belongs(self.name, "d.dtype", calls.dtype_of(call.d), (self.output_dtype,))
        recipes = {"recipe": call.recipe, "recipe_a": call.recipe_a, "recipe_b": call.recipe_b}
        given = {name: calls.recipe_of(each) for name, each in recipes.items() if each is not None}
        calls.belongs(self.name, "recipes", given, (self.keywords, *self.same_recipe))


class Fp8(Precision):
    """128 columns a scale factor, the recipe left out or said; scale factors in either form."""

    scale_dimensions = (scales.SCALES,)
    archs: ClassVar[tuple[ArchSupport, ...]] = ARCHS

    def scale_values(self, a: Operand) -> Mapping[str, Value]:
        return {"scales": scale_form(a[1])}

    def check_precision(self, shape: Shape) -> None:
        scales.check_scales(self.name, shape)

    def conversion_workspace(self, shape: Shape, rows: int, row_groups: int = 1) -> int:
        groups: Any = shape.get("num_groups", 1)
        return conversion_workspace(shape, rows, groups, row_groups)

    def check_operands(self, call: Arguments) -> None:
        check_fp8_operands(self.name, call)


class Fp8Block32(Precision):
    """32 columns of ``a`` and blocks of 32x32 of ``b`` share an f32 scale factor."""

    a_group = b_group = 32
    scale_form = "f32"
    keywords: ClassVar[Mapping[str, Any]] = {"recipe": (1, 32, 32)}
    k_dimension = Size("k", K.meaning, K.unit, multiple_of=32)
    archs: ClassVar[tuple[ArchSupport, ...]] = (
        ArchSupport("sm90", ">=0.2", "DeepGEMM 0.1 asserts 'Unknown SF transformation' (layout.hpp) on sm90"),
        ArchSupport("sm100"),
        _SM120,
    )

    def conversion_workspace(self, shape: Shape, rows: int, row_groups: int = 1) -> int:
        groups: Any = shape.get("num_groups", 1)
        return conversion_workspace(shape, rows, groups, row_groups, self.b_group)


class MxFp8(Precision):
    a_group = b_group = 32
    keywords: ClassVar[Mapping[str, Any]] = {"recipe": (1, 1, 32)}
    same_recipe = ({"recipe_a": (1, 32), "recipe_b": (1, 32)},)
    archs: ClassVar[tuple[ArchSupport, ...]] = (
        ArchSupport("sm90", "none", "DeepGEMM asserts 'Unknown SF transformation' (layout.hpp) on sm90"),
        ArchSupport("sm100"),
        _SM120,
    )


class Fp8ByFp4(Precision):
    b_group = 32
    b_fp4 = True
    keywords: ClassVar[Mapping[str, Any]] = {"recipe_a": (1, 128), "recipe_b": (1, 32)}
    k_dimension = K_FP4
    archs: ClassVar[tuple[ArchSupport, ...]] = (ArchSupport("sm90", "none", _NO_SM90), ArchSupport("sm100"), _SM120)


class Fp4(Precision):
    a_group = b_group = 32
    a_fp4 = b_fp4 = True
    keywords: ClassVar[Mapping[str, Any]] = {"recipe": (1, 1, 32)}
    k_dimension = K_FP4
    archs: ClassVar[tuple[ArchSupport, ...]] = (ArchSupport("sm90", "none", _NO_SM90), ArchSupport("sm100"), _SM120)
