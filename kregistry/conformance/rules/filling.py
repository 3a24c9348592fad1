"""Rules for what ``fill()`` and the other methods may change."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from typing import TYPE_CHECKING

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, Poisoned, elements, poisoned_buffers
from kregistry.conformance.rule import FULL, RuleViolation, rule
from kregistry.conformance.rules.calls import recorder_of, tensors_of
from kregistry.kernel_type import Buffers, KernelType, Shape
from kregistry.stub.process_state import changed_names, process_state

if TYPE_CHECKING:
    import torch


#: Integers that may be indices or counts. Items of one byte are data.
INDEX_TYPES = ("int32", "int64")


@rule("KR124", "fill() writes the inputs of the launch and nothing else", cases=FULL, needs=("KR120", "KR137"))
def filled_only(subject: KernelTypeUnderTest, case: str) -> None:
    import torch

    kernel_type, m = subject.kernel_type, subject.at(case)
    for shape in subject.every_shape:
        poisoned = poisoned_buffers(kernel_type, shape, subject.padded_rows(m), NAN_POISON, "cpu")
        before = poisoned.snapshot()
        kernel_type.fill(poisoned.buffers, m, torch.Generator().manual_seed(0))
        after, given = poisoned.snapshot(), given_to(kernel_type, poisoned, m)
        what, where = f"fill(buffers, m={m})", location(shape, m)
        for name, spec in kernel_type.buffers(shape, poisoned.buffers.max_m).items():
            changed = before[name] != after[name]
            if spec.role == "output" and not spec.accumulated and bool(changed.any()):
                got = f"writes {int(changed.sum())} elements of the output {name!r}"
                wanted = "no write: outputs belong to the launch, unless they are declared as accumulated"
                raise RuleViolation(what, got, wanted, where)
            beyond = int((changed & ~given[name]).sum())
            # Lengths that a schedule is made of may be buffers that the launch is not given at all.
            if beyond and (bool(given[name].any()) or spec.dtype not in INDEX_TYPES):
                got = f"writes {beyond} elements of {name!r} that are not in arguments(buffers, m={m})"
                raise RuleViolation(what, got, "writes to the arguments of the launch only", where)
        if poisoned.broken_guards():
            got = f"writes outside {', '.join(poisoned.broken_guards())}"
            raise RuleViolation(what, got, "no write before or after a buffer", where)


def given_to(kernel_type: KernelType, poisoned: Poisoned, m: int) -> dict[str, torch.Tensor]:
    """Name of a buffer -> mask of its storage elements that a launch at ``m`` is given."""

    def views(buffers: Buffers) -> dict[str, torch.Tensor]:
        return {str(i): each for i, each in enumerate(tensors_of(kernel_type.arguments(buffers, m)))}

    return elements(kernel_type, poisoned, views)


@rule("KR125", "its methods leave the process as it is", needs=("KR124",))
def process_kept(subject: KernelTypeUnderTest) -> None:
    """Environment, random numbers, settings of torch and DeepGEMM: the same after each method."""
    import torch

    kernel_type, m = subject.kernel_type, subject.at("tail")
    for shape in subject.every_shape:
        recorder, _ = recorder_of(kernel_type)
        with subject.applied(shape), torch.random.fork_rng(devices=()):
            torch.rand(1)  # so that a seed that fill() has set already is seen when it sets it again
            with _environment_of(subject.first_state):
                before = {**process_state(), **subject.torch_settings}
                for words, method in _methods(kernel_type, recorder, shape, m, subject.padded_rows(m)):
                    printed = _output_of(method)
                    changed = changed_names(before, process_state())
                    if changed:
                        raise RuleViolation(words, f"changes {', '.join(changed)}", "no change", location(shape, m))
                    if printed:
                        wanted = "nothing: a server calls it often, and the output of a command may be JSON"
                        raise RuleViolation(f"what {words} prints", repr(printed[:80]), wanted, location(shape, m))


@contextmanager
def _environment_of(state: Mapping[str, str]) -> Iterator[None]:
    """The environment without what was added to it since: what an earlier call has set is not seen otherwise."""
    added = {name: value for name, value in os.environ.items() if f"the environment variable {name}" not in state}
    for name in added:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(added)


def _output_of(method: Callable[[], object]) -> str:
    """What a call prints."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        method()
    return printed.getvalue()


def _methods(
    kernel_type: KernelType, recorder: KernelType, shape: Shape, m: int, max_m: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Calls of the methods of a kernel type, with their names; the recorder launches nothing."""
    import torch

    for name in ("buffers", "memory_requirement", "workspace_requirement"):
        yield f"{name}()", partial(getattr(kernel_type, name), shape, max_m)
    yield "check()", partial(kernel_type.check, shape)
    yield "refusal()", partial(kernel_type.refusal, shape, m)
    buffers = kernel_type.allocate_buffers(shape, max_m, "cpu")
    call = kernel_type.arguments(buffers, m)
    yield "fill()", partial(kernel_type.fill, buffers, m, torch.Generator().manual_seed(0))
    for name in ("reference", "results", "outputs", "writable"):
        yield f"{name}()", partial(getattr(kernel_type, name), buffers, m)
    yield "read_m()", partial(kernel_type.read_m, *call.args, **call.kwargs)
    yield "read_shape()", partial(kernel_type.read_shape, *call.args, **call.kwargs)
    yield "launch()", partial(recorder.launch, *call.args, **call.kwargs)
    yield "execute()", partial(recorder.execute, buffers, m)
