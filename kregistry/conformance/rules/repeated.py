"""Rules for launches one after another, as a server makes them, on a GPU, or a CPU where the function works there."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.poison import NAN_POISON, OTHER_POISON, Poisoned, elements, poisoned_buffers
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.numerics import compare_results, device_shapes
from kregistry.conformance.trial import reference_of, refill, results_of, synchronize
from kregistry.deep_gemm.settings import applied
from kregistry.kernel_type import EmptyInput, Shape
from kregistry.stub.process_state import changed_names, process_state
from kregistry.stub.returned_form import form_of, sizes_only

#: Sizes in the form of a return value; the numbers in names of dtypes follow a letter.
_NUMBERS = re.compile(r"(?<![a-z0-9])\d+")


@rule("KR310", "each launch in the same buffers computes anew", needs=("KR301", "KR303"), on_device=True)
def computes_anew(subject: KernelTypeUnderTest) -> None:
    """New inputs, another value, and the same call again without new inputs."""
    for shape in device_shapes(subject):
        rows = subject.padded_rows(max(subject.at("block"), subject.at("tail")))
        poisoned = poisoned_buffers(subject.kernel_type, shape, rows, NAN_POISON, subject.device)
        for step, (case, seed, words) in enumerate(
            (
                ("block", 31, "of the first launch"),
                ("tail", 32, "of a launch at another value, in the same buffers"),
                ("tail", 33, "of a launch with new inputs, in the same buffers"),
            )
        ):
            refill(subject.kernel_type, poisoned, subject.at(case), seed, subject.device)
            _launch(subject, shape, poisoned, subject.at(case), f" {words}")
            if step:
                _launch(subject, shape, poisoned, subject.at(case), " of the same call, made twice")


def _launch(subject: KernelTypeUnderTest, shape: Shape, poisoned: Poisoned, m: int, words: str) -> None:
    """One launch, compared with the reference for what the buffers hold before it."""
    kernel_type, buffers = subject.kernel_type, poisoned.buffers
    wanted = reference_of(kernel_type, buffers, m)
    with applied(kernel_type, shape):
        value = kernel_type.execute(buffers, m)
    synchronize(subject.device)
    results = results_of(kernel_type, buffers, m, value)
    compare_results(results, wanted, kernel_type.proof.tolerance, location(shape, m), words)


@rule("KR313", "a launch leaves the process as it is", needs=("KR305",), on_device=True)
def process_kept(subject: KernelTypeUnderTest) -> None:
    m = subject.at("tail")
    for shape in device_shapes(subject):
        poisoned = poisoned_buffers(subject.kernel_type, shape, m, NAN_POISON, subject.device)
        refill(subject.kernel_type, poisoned, m, 41, subject.device)
        places = {name: tensor.data_ptr() for name, tensor in poisoned.buffers.tensors.items()}
        wanted = reference_of(subject.kernel_type, poisoned.buffers, m)
        with applied(subject.kernel_type, shape), _other_settings():
            before = process_state()
            value = subject.kernel_type.execute(poisoned.buffers, m)
            changed = changed_names(before, process_state())
        synchronize(subject.device)
        tensors = poisoned.buffers.tensors.items()
        changed += tuple(f"the memory of {name!r}" for name, each in tensors if each.data_ptr() != places[name])
        if changed:
            raise RuleViolation("execute(buffers, m)", f"changes {', '.join(changed)}", "no change", location(shape, m))
        results = results_of(subject.kernel_type, poisoned.buffers, m, value)
        words = " of a launch with other settings of torch, BF16 as its default dtype among them"
        compare_results(results, wanted, subject.kernel_type.proof.tolerance, location(shape, m), words)


@contextmanager
def _other_settings() -> Iterator[None]:
    """Other settings of torch, as engines have them while they load a model, and Python's collector on.

    What an earlier launch has set is not seen otherwise.
    """
    import torch

    threads, tf32, collects = torch.get_num_threads(), torch.backends.cudnn.allow_tf32, gc.isenabled()
    dtype = torch.get_default_dtype()
    gc.enable()
    torch.set_default_dtype(torch.bfloat16)
    torch.set_num_threads(threads + 1)
    torch.backends.cudnn.allow_tf32 = not tf32
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = tf32
        if not collects:
            gc.disable()


@rule("KR314", "an empty call returns what a launch returns, without rows", needs=("KR301",), on_device=True)
def empty_result(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    if kernel_type.empty_input is EmptyInput.LAUNCH:
        return
    for shape in device_shapes(subject):
        one, other, empty = (form_of(_returned(subject, shape, m)) for m in (subject.at("one"), subject.at("tail"), 0))
        if not same_form(empty, one, other):
            what = "the return value of an empty call"
            raise RuleViolation(what, empty, f"that of a launch, {one}", location(shape, 0))


def _returned(subject: KernelTypeUnderTest, shape: Shape, m: int) -> object:
    """What a launch in buffers of its own returns; an empty call has buffers with rows."""
    rows = max(m, subject.at("one"))
    poisoned = poisoned_buffers(subject.kernel_type, shape, subject.padded_rows(rows), NAN_POISON, subject.device)
    refill(subject.kernel_type, poisoned, rows, 51, subject.device)
    with applied(subject.kernel_type, shape):
        value = subject.kernel_type.execute(poisoned.buffers, m)
    synchronize(subject.device)
    return value


def same_form(empty: str, one: str, other: str) -> bool:
    """Whether the result of an empty call has the form of two launches, apart from the sizes in which these differ."""
    empty, one, other = map(sizes_only, (empty, one, other))
    found, first, second = (_NUMBERS.split(text) for text in (empty, one, other))
    if not len(found) == len(first) == len(second):
        return False
    varies = one == other  # of one launch alone it is not known which sizes vary
    sizes = zip(*(_NUMBERS.findall(text) for text in (empty, one, other)))
    return found == first == second and all(a == b or b != c or varies for a, b, c in sizes)


@rule("KR315", "a launch on buffers that nobody filled is valid", needs=("KR129", "KR304", "KR310"), on_device=True)
def unfilled(subject: KernelTypeUnderTest) -> None:
    """Warm-up does not fill buffers. This comes last: a GPU that has faulted is lost to the process."""
    kernel_type = subject.kernel_type
    for shape in device_shapes(subject):
        for case in ("one", "tail"):
            for pattern in (NAN_POISON, OTHER_POISON):
                m = subject.at(case)
                poisoned = poisoned_buffers(kernel_type, shape, m, pattern, subject.device)
                _launch_unfilled(subject, shape, poisoned, m)


def _launch_unfilled(subject: KernelTypeUnderTest, shape: Shape, poisoned: Poisoned, m: int) -> None:
    kernel_type = subject.kernel_type
    before = poisoned.snapshot()
    what, where = f"execute(buffers as allocated, m={m})", location(shape, m)
    try:
        with applied(kernel_type, shape):
            kernel_type.execute(poisoned.buffers, m)
        synchronize(subject.device)
    except Exception as error:
        got = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        wanted = "no error: an index or count needs an initial value in buffers(), valid for a launch at max_m"
        raise RuleViolation(what, got, wanted, where) from error
    after = poisoned.snapshot()
    writable = elements(kernel_type, poisoned, lambda buffers: kernel_type.writable(buffers, m))
    for name, inside in writable.items():
        spoiled = int(((before[name] != after[name]) & ~inside).sum())
        if spoiled:
            got = f"writes {spoiled} elements of {name!r} outside of writable()"
            raise RuleViolation(what, got, "writes to writable() only", where)
    if poisoned.broken_guards():
        got = f"writes outside {', '.join(poisoned.broken_guards())}"
        raise RuleViolation(what, got, "no write before or after a buffer", where)
