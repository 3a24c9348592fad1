"""Rule for optional arguments: each is read into the shape, changes no kernel, or makes the call an unknown one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.calls import settings_of
from kregistry.conformance.rules.stub import probed_shapes
from kregistry.deep_gemm.settings import read_call
from kregistry.kernel_type import Call, Choice, KernelType, Shape, Value
from kregistry.kernel_type.signature import parameters_of, with_arguments
from kregistry.stub.probed import Probed

#: Recipes that DeepGEMM knows: rows of a and b, and columns, that share a scale factor.
_RECIPES = ([1, 128, 128], [1, 1, 128], [1, 1, 32], [1, 32, 32], [128, 128, 128], [1, 128], [128, 128], [1, 32])
#: Sets of dimensions that may be compiled into a kernel.
_DIMS = ("", "m", "n", "k", "nk", "mn", "mnk")
#: dtypes of new tensors with one number for each row.
_NEW_DTYPES = ("int32", "float32")
_CASE = "tail"


@rule(
    "KR211",
    "an optional argument is read, changes no kernel, or makes the call unknown",
    needs=("KR201", "KR115", "KR220"),
)
def optional_arguments(subject: KernelTypeUnderTest) -> None:
    """Give each optional argument other values, and compare the kernels with those of the shape that is read."""
    kernel_type = subject.kernel_type
    for shape, _ in probed_shapes(subject):
        parameters = parameters_of(kernel_type.function())
        if not parameters:
            raise NotApplicable("Python cannot tell the parameters of the function")
        with subject.applied(shape):
            _check(subject, shape, subject.at(_CASE), parameters)


def _check(subject: KernelTypeUnderTest, shape: Shape, m: int, parameters: Mapping[str, Any]) -> None:
    kernel_type = subject.kernel_type
    call = kernel_type.arguments(subject.meta_buffers(shape, m), m)
    plain = read_with(kernel_type, shape, call, {})
    for name, default in optional_parameters(parameters):
        archs = kernel_type.without_effect.get(name)
        if archs and shape.target.arch not in archs:
            continue  # on this arch such a call is unknown
        without = _without(call, name, [*parameters])
        if without is not None:
            left_out = read_with(kernel_type, shape, without, {})
            read = read_with(kernel_type, shape, without, {name: _as_json(default)})
            if read != left_out:
                what = f"read_shape of a call that leaves {name} out"
                said = f"{read or 'an unknown call'}, as with its default {default!r}"
                raise RuleViolation(what, left_out or "an unknown call", said, location(shape, m))
        for value in other_values(kernel_type, name, default, call, parameters):
            keywords = {name: value}
            read = read_with(kernel_type, shape, call, keywords)
            if read is None:
                continue  # unknown: nobody takes it for a call that is planned
            found = kernels_of(probe_with(subject, shape, m, keywords))
            if found is None:
                continue  # DeepGEMM refuses it
            _check_list(kernel_type, shape, call, name, value, read)
            wanted = kernels_of(probe_with(subject, shape if read == plain else read, m, {}))
            if found != wanted:
                what = f"a call with {name}={_shown(value)}, which is read as {read}"
                got = ", ".join(found) or "no kernel"
                told = "no launch" if wanted is None else ", ".join(wanted) or "no kernel"
                raise RuleViolation(what, got, f"{told}, as planned; or a ShapeError", location(shape, m))


def _check_list(kernel_type: KernelType, shape: Shape, call: Call, name: str, value: Any, read: Shape) -> None:
    """A list of numbers is read as the tuple of them: callers pass both."""
    if not isinstance(value, list):
        return
    as_list = read_with(kernel_type, shape, call, {name: {"list": value}})
    if as_list != read:
        words = "an unknown call" if as_list is None else as_list
        wanted = f"{read}, as with the tuple {tuple(value)}"
        raise RuleViolation(f"read_shape of a call with {name}={value}", words, wanted, location(shape))


def _without(call: Call, name: str, parameters: list[str]) -> Call | None:
    """The call without an argument; ``None`` if others follow it by position."""
    place = parameters.index(name)
    if place < len(call.args) - 1:
        return None
    return Call(call.args[:place], {each: value for each, value in call.kwargs.items() if each != name})


def optional_parameters(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, default) of those parameters that have a default."""
    import inspect

    return ((name, value) for name, value in parameters.items() if value is not inspect.Parameter.empty)


def read_with(kernel_type: KernelType, shape: Shape, call: Call, keywords: Mapping[str, Any]) -> Shape | None:
    """The shape of the call with some other arguments; ``None`` if the kernel type does not know the call."""
    args, kwargs = with_arguments(kernel_type.function(), call.args, call.kwargs, keywords)
    try:
        read = {**settings_of(kernel_type, shape), **read_call(kernel_type, args, kwargs)}
        return kernel_type.resolve(read, shape.target)
    except Exception:  # a reader may stumble over a value of a type that no caller gives: recognition passes it over
        return None


def probe_with(subject: KernelTypeUnderTest, shape: Shape, m: int, keywords: Mapping[str, Any]) -> Probed:
    prober = subject.machine.prober(shape.target)
    key = ("argument", shape, m, repr(keywords))
    return subject.once(key, lambda: prober.probe(subject.kernel_type, shape, (m,), keywords))


def kernels_of(probed: Probed) -> tuple[str, ...] | None:
    """The kernels of the launch; ``None`` if it was refused."""
    if probed.error or not probed.values or probed.values[0].warm_up.error:
        return None
    return probed.values[0].warm_up.kernels


def other_values(
    kernel_type: KernelType, name: str, default: Any, call: Call, parameters: Mapping[str, Any]
) -> Iterator[Any]:
    """Values that a caller might give, as JSON: those of its type, and the choices of a dimension of that name."""
    import torch

    choices: list[Value] = []
    for dimension in kernel_type.dimensions:
        if dimension.name == name and isinstance(dimension, Choice):
            choices += dimension.choices
    if isinstance(default, bool):
        values: list[Any] = [not default]
    elif isinstance(default, str):
        values = [*_DIMS] if set(default) <= set("mnk") else []
    elif isinstance(default, (int, float)):
        values = [default + 1, 2 * default + 64]
    elif isinstance(default, (tuple, list)):
        values = [each for each in _RECIPES if len(each) == len(default)]
    elif isinstance(default, torch.dtype):
        values = [{"dtype": "bfloat16"}, {"dtype": "float32"}]
    else:
        given = {**dict(zip(parameters, call.args)), **call.kwargs}
        tensors = [name for name, value in given.items() if _is_tensor(value)]
        values = [True, 1, 64, 0.5, *_RECIPES, *({"argument": each} for each in tensors), {"dtype": "bfloat16"}]
        values += [{"argument": each, "as": dtype, "rows": True} for each in tensors[:1] for dtype in _NEW_DTYPES]
    return (each for each in (*choices, *values) if each != default)


def _is_tensor(value: Any) -> bool:
    """Whether an argument is a tensor, or data with scale factors."""
    import torch

    return isinstance(value[0] if isinstance(value, (tuple, list)) and value else value, torch.Tensor)


def _as_json(value: Any) -> Any:
    import torch

    return {"dtype": str(value).removeprefix("torch.")} if isinstance(value, torch.dtype) else value


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        if "rows" in value:
            return f"a tensor of {value['as']}, one for each row of {value['argument']}"
        return f"the tensor {value['argument']}" if "argument" in value else str(value["dtype"])
    return repr(value)
