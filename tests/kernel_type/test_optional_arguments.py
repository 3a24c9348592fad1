"""An optional argument is read, has its default, or makes the call one that the kernel type does not know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sample_kernel_types import Sample

from kregistry.errors import ShapeError
from kregistry.kernel_type import Arguments, Signature, Value
from kregistry.kernel_type.signature import parameters_of, same_value, with_arguments


def gemm(a: Any, b: Any, d: Any, recipe: Any = (1, 128, 128), compiled_dims: str = "nk", alpha: Any = None) -> None: ...


class Reads(Sample):
    """It reads the recipe, and no other optional argument."""

    signature = Signature("a, b, d, recipe=(1, 128, 128), compiled_dims='nk', *args, **kwargs")

    def shape_of(self, call: Arguments) -> Mapping[str, Value]:
        return {"n": call.a, "scale": call.recipe[-1]}

    def function(self) -> Callable[..., Any]:
        return gemm


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((8, 2, 3), {}),
        ((8, 2, 3), {"recipe": (1, 1, 128), "compiled_dims": "nk", "alpha": None}),
        ((8, 2, 3, [1, 128, 128], "nk", None), {}),
    ],
)
def test_defaults_may_be_said(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert Reads().read_shape(*args, **kwargs) == {"n": 8, "scale": 128}


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {"compiled_dims": ""}, "compiled_dims = ''"),
        (((1, 1, 128), "mnk"), {}, "compiled_dims = 'mnk'"),
        ((), {"alpha": 0.5}, "alpha = 0.5"),
        ((None, "nk", 0.5), {}, "alpha = 0.5"),
        ((), {"epilogue": object()}, "epilogue = a object"),
        ((None, "nk", None, True), {}, "number 7 = True"),
    ],
)
def test_another_value_of_what_is_not_read_is_refused(args: tuple[Any, ...], kwargs: dict[str, Any], text: str) -> None:
    given = (8, 2, 3, *(each or (1, 1, 128) for each in args[:1]), *args[1:])
    with pytest.raises(ShapeError) as caught:
        Reads().read_shape(*given, **kwargs)
    assert caught.value.text == f"a call with {text}, which the kernel type does not read"


def test_an_argument_that_is_declared_without_effect_may_have_any_value() -> None:
    class Harmless(Reads):
        without_effect = {"alpha": ()}  # noqa: RUF012

    assert Harmless().read_shape(8, 2, 3, alpha=0.5)["n"] == 8
    with pytest.raises(ShapeError, match="compiled_dims"):
        Harmless().read_shape(8, 2, 3, compiled_dims="m", alpha=0.5)


def test_all_arguments_at_once_count_as_read() -> None:
    class ReadsAll(Reads):
        def shape_of(self, call: Arguments) -> Mapping[str, Value]:
            return {"n": len(vars(call))}

    assert ReadsAll().read_shape(8, 2, 3, compiled_dims="m", alpha=1) == {"n": 7}


def test_values_are_compared_as_plain_values() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.ones(2)
    assert same_value([1, 2], (1, 2)) and same_value(None, None) and same_value(tensor, tensor)
    assert not any((same_value(1, True), same_value(0, None), same_value(tensor, torch.ones(2)), same_value("", None)))


def test_arguments_are_replaced_by_position_and_by_name() -> None:
    values = {"b": {"argument": "d"}, "recipe": [1, 1, 32], "compiled_dims": {"argument": "alpha"}}
    args, kwargs = with_arguments(gemm, (1, 2, ("data", "scales")), {"alpha": 1, "recipe": None}, values)
    assert args == (1, "data", ("data", "scales"))
    assert kwargs == {"alpha": 1, "recipe": (1, 1, 32), "compiled_dims": 1}
    assert list(parameters_of(gemm)) == ["a", "b", "d", "recipe", "compiled_dims", "alpha"]


def test_a_new_tensor_has_the_sizes_or_the_rows_of_another() -> None:
    torch = pytest.importorskip("torch")
    values = {"d": {"argument": "a", "as": "int32"}, "alpha": {"argument": "a", "as": "float32", "rows": True}}
    _, kwargs = with_arguments(gemm, (torch.ones(2, 3), 2), {}, values)
    found = {name: (each.dtype, tuple(each.shape)) for name, each in kwargs.items()}
    assert found == {"d": (torch.int32, (2, 3)), "alpha": (torch.float32, (2,))}
