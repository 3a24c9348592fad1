"""Rules for process-wide settings of DeepGEMM: their defaults, and those that are not declared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import evolve

from kregistry.conformance.kernel_type_under_test import KernelTypeUnderTest, location
from kregistry.conformance.rule import FULL, RuleViolation, rule
from kregistry.conformance.rules.stub import probed_shapes
from kregistry.conformance.variant import sent, with_attributes
from kregistry.deep_gemm.known_settings import KNOWN
from kregistry.deep_gemm.settings import is_known
from kregistry.kernel_type import KernelType, Setting, Value
from kregistry.target import Target

#: A kernel type may have a dimension of the same name: an argument of the call.
_PREFIX = "undeclared_"


@rule("KR143", "a setting of DeepGEMM has DeepGEMM's default", needs=("KR101",))
def defaults(subject: KernelTypeUnderTest) -> None:
    """Those that kregistry knows, on a target of each arch: a shape without them is that of an unchanged process.

    A kernel type that does not take DeepGEMM's default needs another one.
    """
    known = {setting.set: setting for setting in KNOWN}
    for target in subject.targets:
        for setting in subject.kernel_type.settings:
            right = known.get(setting.set)
            if right is None or not right.matters_on(target.arch):
                continue
            found, wanted = (each.dimension.default_for(target) for each in (setting, right))
            if found != wanted and setting.dimension.accepts(wanted):
                told = f"{wanted!r}, as {setting.set}() has it there until it is called"
                raise RuleViolation(f"the default of the setting {setting.name}", repr(found), told, target.name)


@rule("KR210", "kernels do not change with a setting that is not declared", needs=("KR143", "KR201"))
def undeclared(subject: KernelTypeUnderTest) -> None:
    """Try another value of each setting of the installed DeepGEMM, at a few run-time values."""
    kernel_type, values = subject.kernel_type, tuple(subject.at(case) for case in FULL)
    for shape, probed in probed_shapes(subject):
        wanted = {value.m: value.warm_up.kernels for value in probed.values}
        for setting in _undeclared(kernel_type, shape.target):
            other = _another_value(setting, shape.target)
            varied = with_setting(kernel_type, setting.name)
            changed = varied.resolve({**shape, _PREFIX + setting.name: other}, shape.target)
            other_type = sent(with_setting, kernel_type, setting.name)
            answer = subject.machine.prober(shape.target).probe(other_type, changed, values)
            what = f"the undeclared setting {setting.name}={other}"
            if answer.error:
                raise RuleViolation(what, answer.error, "no effect, or a declaration in settings", location(shape))
            for value in answer.values:
                got = value.warm_up.error or ", ".join(value.warm_up.kernels)
                expected = ", ".join(wanted[value.m])
                if got != expected:
                    raise RuleViolation(what, got, f"{expected}, as without it", location(shape, value.m))


def _undeclared(kernel_type: KernelType, target: Target) -> Iterator[Setting]:
    declared = {setting.name for setting in kernel_type.settings if setting.matters_on(target.arch)}
    return (setting for setting in KNOWN if setting.name not in declared and is_known(setting))


def _another_value(setting: Setting, target: Target) -> Value:
    default: Any = setting.dimension.default_for(target)
    if isinstance(default, bool):
        return not default
    if isinstance(default, str):
        return next(reversed(setting.choices))
    half: int = default // 2 // setting.multiple_of * setting.multiple_of
    return half


def with_setting(kernel_type: KernelType, name: str) -> KernelType:
    """The kernel type with one more declared setting, under a dimension name of its own.

    Its default may be a lambda, which cannot be pickled.
    """
    extra = next(evolve(each, name=_PREFIX + name) for each in KNOWN if each.name == name)
    return with_attributes(kernel_type, settings=(*kernel_type.settings, extra))
