"""Rule for where tensors lie: a launch goes by sizes, strides and values, and by no other property of its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON
from kregistry.conformance.rule import NotApplicable, RuleViolation, rule
from kregistry.conformance.rules.arguments import read_with
from kregistry.conformance.rules.calls import tensors_of
from kregistry.conformance.rules.numerics import compare_results, device_shapes, filled_with_reference
from kregistry.conformance.trial import results_of
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import Buffers, Call, KernelType, Shape

if TYPE_CHECKING:
    import torch

#: Columns between the end of a row and the next one.
_GAP = 16
_SEED = 95


@rule("KR319", "results do not depend on where tensors lie", needs=("KR301", "KR303"), on_device=True)
def placement(subject: KernelTypeUnderTest) -> None:
    """Inputs and outputs as columns of wider tensors, and two tensors where arguments() gives one twice."""
    if subject.device != "cpu":
        raise NotApplicable("it is checked on a CPU only")
    m = subject.at("tail")
    for shape in device_shapes(subject):
        for name, spec in subject.kernel_type.buffers(shape, subject.padded_rows(m)).items():
            if len(spec.shape) > 1 and spec.strides is None:
                _check_columns(subject, shape, m, name)
        _check_twice(subject, shape, m)


def _check_columns(subject: KernelTypeUnderTest, shape: Shape, m: int, name: str) -> None:
    """One buffer as the first columns of a wider tensor. A launch that refuses it is right too."""
    buffers, wanted = filled_with_reference(subject, shape, m, _SEED)
    wide, view = _columns(buffers.tensors[name])
    moved = Buffers(shape, buffers.max_m, {**buffers.tensors, name: view})
    what, where = f"a launch with {name!r} as columns of a wider tensor", location(shape, m)
    try:
        call = subject.kernel_type.arguments(moved, m)
        if wide.untyped_storage()._cdata not in {each.untyped_storage()._cdata for each in tensors_of(call)}:
            return  # it gives the launch a copy
        results = _launch(subject.kernel_type, moved, m, call)
    except Exception:  # any: such a tensor is refused
        return
    compare_results(results, wanted, subject.kernel_type.proof.tolerance, where, f" of {what}")
    gap = _bytes(wide).reshape(*wide.shape[:-1], -1)[..., view.shape[-1] * view.element_size() :]
    spoiled = int((gap != NAN_POISON).sum())
    if spoiled:
        raise RuleViolation(what, f"writes {spoiled} bytes between its rows", "no write", where)


def _check_twice(subject: KernelTypeUnderTest, shape: Shape, m: int) -> None:
    """An optional argument that is the same tensor as another one: a copy of it, and NaN in the other."""
    kernel_type = subject.kernel_type
    for name, first in _given_twice(kernel_type, kernel_type.arguments(subject.meta_buffers(shape, m), m)):
        buffers, wanted = filled_with_reference(subject, shape, m, _SEED)
        call = kernel_type.arguments(buffers, m)
        kept = call.kwargs[name]
        other = Call(call.args, {**call.kwargs, name: kept.clone()})
        with applied(kernel_type, shape):
            if read_with(kernel_type, shape, other, {}) is None:  # the call is unknown to the kernel type
                continue
        kept.fill_(float("nan"))
        words = f" of a launch with {name} in another tensor than {first}"
        results = _launch(kernel_type, buffers, m, other)
        compare_results(results, wanted, kernel_type.proof.tolerance, location(shape, m), words)


def _given_twice(kernel_type: KernelType, call: Call) -> Iterator[tuple[str, str]]:
    """(parameter, the parameter of the same tensor) for keyword arguments that are floats."""
    import torch

    named = dict(zip(kernel_type.signature.parameters.parameters, call.args))
    for name, value in call.kwargs.items():
        for first, earlier in {**named, **call.kwargs}.items():
            tensors = (
                isinstance(value, torch.Tensor) and isinstance(earlier, torch.Tensor) and value.is_floating_point()
            )
            if tensors and name != first and _place(value) == _place(earlier):
                yield name, first
                break


def _place(tensor: torch.Tensor) -> tuple[object, ...]:
    return tensor.untyped_storage()._cdata, tensor.storage_offset(), tensor.shape, tensor.stride()


def _launch(kernel_type: KernelType, buffers: Buffers, m: int, call: Call) -> Mapping[str, torch.Tensor]:
    with applied(kernel_type, buffers.shape):
        value = kernel_type.launch(*call.args, **call.kwargs)
    return results_of(kernel_type, buffers, m, value)


def _columns(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A tensor full of poison, and its first columns, which hold the values of the given one."""
    wide = tensor.new_empty((*tensor.shape[:-1], tensor.shape[-1] + _GAP))
    _bytes(wide).fill_(NAN_POISON)
    view = wide[..., : tensor.shape[-1]]
    view.copy_(tensor)
    return wide, view


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    import torch

    return tensor.view(torch.uint8)
