"""Rules for the declarations of a kernel type, and for its behaviour as a Python object."""

from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path

from attrs import frozen

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, one_of_arch
from kregistry.conformance.rule import RuleViolation, rule
from kregistry.conformance.rules.calls import recorder_of
from kregistry.kernel_type import KernelType
from kregistry.kernel_type.declaration import declaration_fault
from kregistry.python_child import child_command, child_environment

_LOAD = """
import pickle
pickle.loads({pickled!r})
"""
_IMPORT = """
import os, sys
for name in {added!r}:
    os.environ.pop(name, None)
before = dict(os.environ)
import {module}
heavy = [name for name in ("torch", "deep_gemm") if name in sys.modules]
changed = sorted(name for name in {{**before, **os.environ}} if before.get(name) != os.environ.get(name))
print(",".join(heavy) + ";" + ",".join(changed))
"""


@frozen
class _Elsewhere:
    """The result of code in a new process: its last line of output, or why it failed."""

    output: str
    failure: str


def _run_elsewhere(code: str) -> _Elsewhere:
    done = subprocess.run(
        child_command(code), env=child_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    output = (done.stdout.strip().splitlines() or [""])[-1]
    failure = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return _Elsewhere(output, failure if done.returncode else "")


@rule("KR101", "its declarations are complete")
def declarations(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    label = type(kernel_type).__name__
    fault = declaration_fault(kernel_type)
    if fault:
        raise RuleViolation(f"the declarations of {label}", fault, "declarations that the registry accepts")
    if not kernel_type.summary.strip():
        raise RuleViolation(f"{label}.summary", "nothing", "a description in one line")
    if not kernel_type.function_names:
        raise RuleViolation(f"{label}.function_names", "none", "the names of a function of deep_gemm")
    for each in kernel_type.all_dimensions:
        if not each.meaning.strip():
            what = f"{label}.dimensions: the meaning of {each.name!r}"
            raise RuleViolation(what, "nothing", "a description in one line")
    unknown = [device for device in kernel_type.proof.devices if device not in ("cuda", "cpu")]
    if unknown or not kernel_type.proof.devices:
        raise RuleViolation(f"{label}.proof.devices", kernel_type.proof.devices, "'cuda', 'cpu' or both")


@rule("KR102", "it can be sent to another process", needs=("KR101",))
def picklable(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    try:
        again = pickle.loads(pickle.dumps(kernel_type))
    except Exception as error:
        wanted = "a class at the top level of a module, without state that cannot be pickled"
        raise RuleViolation(f"pickle.dumps({kernel_type!r})", f"{type(error).__name__}: {error}", wanted) from None
    if type(again) is not type(kernel_type) or vars(again) != vars(kernel_type):
        raise RuleViolation(f"{kernel_type!r} after pickling", vars(again), f"an equal object: {vars(kernel_type)}")
    cause = _run_elsewhere(_LOAD.format(pickled=pickle.dumps(kernel_type))).failure
    if cause:
        module = type(kernel_type).__module__
        wanted = f"to find its class in {module}: put it into a module that a new process can import"
        raise RuleViolation(f"{kernel_type!r} in a new process", cause, wanted)


@rule("KR104", "it has no state", needs=("KR101", "KR112"))
def stateless(subject: KernelTypeUnderTest) -> None:
    kernel_type = subject.kernel_type
    recorder, _ = recorder_of(kernel_type)
    before = {**_state(kernel_type), **_own_state(recorder)}
    for shape in subject.every_shape:
        m = subject.at("tail")
        buffers = subject.kernel_type.allocate_buffers(shape, m, "meta")
        call = kernel_type.arguments(buffers, m)
        kernel_type.read_m(*call.args, **call.kwargs)
        with subject.applied(shape):
            kernel_type.read_shape(*call.args, **call.kwargs)
            recorder.launch(*call.args, **call.kwargs)
            recorder.execute(buffers, m)
        kernel_type.memory_requirement(shape, m)
    after = {**_state(kernel_type), **_own_state(recorder)}
    changed = sorted(name for name in {**before, **after} if before.get(name) != after.get(name))
    if changed:
        wanted = "no change: all threads share one object, and it is pickled by name"
        raise RuleViolation(
            f"the attributes of {kernel_type!r} after a few calls", f"changed {', '.join(changed)}", wanted
        )


def _state(kernel_type: KernelType) -> dict[str, str]:
    """The attributes of the object and of its classes, as text."""
    found: dict[str, str] = {}
    for cls in type(kernel_type).__mro__:
        if issubclass(cls, KernelType) and cls is not KernelType:
            found.update({name: repr(value) for name, value in vars(cls).items() if not name.startswith("__")})
    return {**found, **_own_state(kernel_type)}


def _own_state(kernel_type: KernelType) -> dict[str, str]:
    """The attributes of the object, as text."""
    return {name: repr(value) for name, value in vars(kernel_type).items()}


@rule("KR105", "importing it does nothing", needs=("KR102",))
def imports(subject: KernelTypeUnderTest) -> None:
    module = type(subject.kernel_type).__module__
    done = _run_elsewhere(_IMPORT.format(module=module, added=_set_by_this_process()))
    if done.failure:  # it may need what the test has set
        done = _run_elsewhere(_IMPORT.format(module=module, added=()))
    if done.failure:
        raise RuleViolation(f"import {module} in a new process", done.failure, "a module that can be imported")
    heavy, _, changed = done.output.partition(";")
    wanted = "nothing: import torch inside functions, or under TYPE_CHECKING for annotations"
    if heavy:
        raise RuleViolation(f"import {module}", f"it also imports {heavy}", wanted)
    if changed:
        raise RuleViolation(f"import {module}", f"it changes the environment: {changed}", "no change")


def _set_by_this_process() -> tuple[str, ...]:
    """Environment variables that this process has set since it began: the import of the module, for one."""
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return ()
    return tuple(set(os.environ) - {os.fsdecode(entry.partition(b"=")[0]) for entry in entries})


@rule("KR108", "an arch or version that is not supported is refused with a reason", needs=("KR101",))
def archs(subject: KernelTypeUnderTest) -> None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    kernel_type = subject.kernel_type
    label = type(kernel_type).__name__
    for support in kernel_type.archs:
        if one_of_arch(support.arch) is None:
            raise RuleViolation(f"{label}.archs", repr(support.arch), "the arch of a target, e.g. 'sm90'")
        if support.deep_gemm and not support.reason.strip():
            wanted = "why the other versions do not work"
            raise RuleViolation(f"{label}.archs: the reason of {support.arch}", "nothing", wanted)
        try:
            SpecifierSet("" if support.deep_gemm == "none" else support.deep_gemm)
        except InvalidSpecifier:
            got, wanted = repr(support.deep_gemm), "a PEP 440 specifier, e.g. '>=0.2', or 'none'"
            raise RuleViolation(f"{label}.archs: deep_gemm of {support.arch}", got, wanted) from None
    _check_undeclared(subject)


def _check_undeclared(subject: KernelTypeUnderTest) -> None:
    """An arch or version that is not declared must be refused by the kernel type itself."""
    from packaging.specifiers import SpecifierSet

    kernel_type = subject.kernel_type
    declared = {support.arch: support for support in kernel_type.archs}
    version = subject.machine.deep_gemm_version or "0.0.1"
    for arch in ("sm90", "sm100", "sm120"):
        target = one_of_arch(arch)
        assert target is not None
        support = declared.get(arch)
        if support is not None and not support.deep_gemm:
            continue
        if support is not None and support.deep_gemm != "none" and SpecifierSet(support.deep_gemm).contains(version):
            continue
        reason = kernel_type.unsupported_reason(target, version)
        if not (isinstance(reason, str) and reason.strip()):
            what = f"unsupported_reason({target.name}, {version!r})"
            raise RuleViolation(what, repr(reason), "a reason, since that arch or version is not declared")
