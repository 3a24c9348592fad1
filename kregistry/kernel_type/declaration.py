"""Checks the declarations of a kernel type when a plugin registers it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import fields

from kregistry.kernel_type.buffers import Buffers
from kregistry.kernel_type.contract import KernelType
from kregistry.kernel_type.dimension import Dimension, RunDimension
from kregistry.kernel_type.proof import Proof
from kregistry.kernel_type.setting import Setting
from kregistry.kernel_type.shape import Shape
from kregistry.kernel_type.signature import Signature

#: Names that a dimension may not have: dimensions are attributes of shapes, and buffers are attributes of Buffers.
RESERVED_NAMES = frozenset(
    name
    for cls in (Shape, Buffers)
    for name in (*dir(cls), *(each.name for each in fields(cls)))
    if not name.startswith("_")
)
#: Keys of a kernel entry of a manifest besides its run-time dimension, which may have none of these names.
KERNEL_KEYS = ("type", "label", "shape")
_EXPECTED: dict[str, type] = {
    "name": str,
    "summary": str,
    "dimensions": tuple,
    "settings": tuple,
    "run_dimension": RunDimension,
    "signature": Signature,
    "function_names": tuple,
    "archs": tuple,
    "proof": Proof,
}


def declaration_fault(kernel_type: object) -> str | None:
    """The first fault in the declarations of a kernel type; ``None`` if there is none."""
    if not isinstance(kernel_type, KernelType):
        return f"kregistry_kernel_types() must return KernelType objects, got {kernel_type!r}"
    label = type(kernel_type).__name__
    for attribute, kind in _EXPECTED.items():
        if not isinstance(getattr(kernel_type, attribute, None), kind):
            return f"{label}.{attribute} must be a {kind.__name__}"
    if not kernel_type.name.isidentifier():
        return f"{label}.name must be an identifier, got {kernel_type.name!r}"
    if not all(isinstance(dimension, Dimension) for dimension in kernel_type.dimensions):
        return f"{label}.dimensions must hold Dimension objects"
    if not all(isinstance(setting, Setting) for setting in kernel_type.settings):
        return f"{label}.settings must hold Setting objects"
    overridden = {type(kernel_type).read_shape, type(kernel_type).shape_of}
    if overridden == {KernelType.read_shape, KernelType.shape_of}:
        return f"{label} must define shape_of(): the dimensions of a real call"
    return _name_fault(label, kernel_type)


def _name_fault(label: str, kernel_type: KernelType) -> str | None:
    names = [dimension.name for dimension in kernel_type.all_dimensions]
    for name in names:
        if name in RESERVED_NAMES:
            return f"{label} declares the dimension {name!r}, a name that is reserved in shapes or buffers: rename it"
        if not name.isidentifier() or name.startswith("_"):
            return f"{label} declares the dimension {name!r}, expected an identifier that does not begin with _"
    run_name = kernel_type.run_dimension.name
    if run_name in KERNEL_KEYS:
        return f"{label} declares the run-time dimension {run_name!r}, a key of every entry of a manifest: rename it"
    if not isinstance(run_name, str) or not run_name.isidentifier() or run_name.startswith("_"):
        expected = "expected an identifier that does not begin with _"
        return f"{label} declares the run-time dimension {run_name!r}, {expected}"
    repeated = repeated_name([*names, run_name])
    return f"{label} declares the dimension {repeated!r} twice" if repeated else None


def repeated_name(names: Iterable[str]) -> str | None:
    """The first name that occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
