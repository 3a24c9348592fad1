"""Rule for declarations by which a kernel type could escape the other rules: refused, or counted as not proved."""

from __future__ import annotations

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import FULL, NotProved, RuleViolation, rule
from kregistry.kernel_type import KernelType, Proof
from kregistry.kernel_type.versions import version_applies

#: A version of each series of DeepGEMM that there is. A claim that fits none is a claim for nothing.
_VERSIONS = ("0.0.1", "0.1.4.post1", "0.2.3.post2", "0.2.5")
#: Larger numbers of a list are addresses.
_LARGEST_SIZE = 1 << 32


@rule("KR109", "it claims something that can be tested", needs=("KR103", "KR108", "KR112"))
def opt_outs(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    label = type(kernel_type).__name__
    versions = (*_VERSIONS, *filter(None, (subject.machine.deep_gemm_version,)))
    if not any(version_applies(each.deep_gemm, version) for each in kernel_type.archs for version in versions):
        wanted = "at least one arch for some version of DeepGEMM: nothing is tested otherwise"
        raise RuleViolation(f"{label}.archs", repr(kernel_type.archs), wanted)
    _check_empty(kernel_type, label, versions)
    if subject.at("one") == subject.at("largest"):
        got = f"the one value {subject.at('one')}"
        raise RuleViolation(f"{label}.proof: start and stop", got, "a range with more than one value")
    for shape in subject.every_shape:
        m = subject.at("largest")
        needed = kernel_type.memory_requirement(shape, m) + kernel_type.workspace_requirement(shape, m)
        if needed > shape.target.memory_bytes:
            what = f"memory_requirement + workspace_requirement at max_m={m}"
            wanted = f"at most the {shape.target.memory_bytes} of the device: nothing can be launched otherwise"
            raise RuleViolation(what, f"{needed} bytes", wanted, location(shape))
    _check_stop(subject)
    proof = kernel_type.proof
    if proof.input_exponent < Proof().input_exponent and not proof.input_reason:
        wanted = f"{Proof().input_exponent}, or an input_reason: larger and smaller numbers are never launched"
        raise RuleViolation(f"{label}.proof.input_exponent", proof.input_exponent, wanted)
    if not subject.targets:
        raise NotProved(f"no arch is claimed for DeepGEMM {subject.machine.deep_gemm_version}")
    _check_collective(subject)
    if subject.every_shape and all(kernel_type.collective(shape) for shape in subject.every_shape):
        reason = kernel_type.collective(subject.every_shape[0])
        raise NotProved(f"each example shape is collective, so none is launched on a device: {reason}")


def _check_collective(subject: KernelTypeUnderTest) -> None:
    """A launch of DeepGEMM that waits for other processes is given something of theirs: their addresses, an object."""
    kernel_type, m = subject.kernel_type, subject.at("one")
    if type(kernel_type).function is not KernelType.function:
        return  # a function of the author may wait for a group of torch.distributed
    for shape in subject.every_shape:
        reason = kernel_type.collective(shape)
        if not reason:
            continue
        with subject.applied(shape):
            call = kernel_type.arguments(subject.meta_buffers(shape, m), m)
        if all(_is_of_this_process(each) for each in (*call.args, *call.kwargs.values())):
            wanted = "None: the call has tensors and numbers only, nothing of another process; warm-up leaves it out"
            raise RuleViolation("collective(shape)", repr(reason), wanted, location(shape))


def _is_of_this_process(value: object) -> bool:
    import torch

    if isinstance(value, (tuple, list)):
        pointers = len(value) > 1 and all(type(each) is int for each in value) and max(value) > _LARGEST_SIZE
        return not pointers and all(_is_of_this_process(each) for each in value)
    return value is None or isinstance(value, (torch.Tensor, torch.dtype, str, int, float))


def _check_stop(subject: KernelTypeUnderTest) -> None:
    """Values past ``proof.stop`` are never launched: it may not leave out what other kernel types must show."""
    values = len({subject.at(case) for case in FULL})
    most = [subject.kernel_type.largest_m(shape) for shape in subject.every_shape]
    stop = subject.at("largest")
    if values < len(FULL) and any(
        each is None or each >= stop + subject.kernel_type.run_dimension.step for each in most
    ):
        raise NotProved(f"proof.stop ends at {stop}, and largest_m() does not: larger values are never launched")


def _check_empty(kernel_type: KernelType, label: str, versions: tuple[str, ...]) -> None:
    """DeepGEMM cannot both return at once and raise."""
    for version in versions:
        handles = version_applies(kernel_type.handles_empty, version)
        if handles and version_applies(kernel_type.raises_on_empty, version):
            got = f"handles_empty = {kernel_type.handles_empty!r}, raises_on_empty = {kernel_type.raises_on_empty!r}"
            raise RuleViolation(f"{label} with DeepGEMM {version}", got, "at most one of them for a version")
