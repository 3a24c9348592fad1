"""Checks the declarations of a kernel type when a plugin registers it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping

from attrs import fields

from kregistry.errors import describe_error
from kregistry.kernel_type.buffers import Buffers
from kregistry.kernel_type.contract import KernelType
from kregistry.kernel_type.dimension import Dimension, RunDimension
from kregistry.kernel_type.empty_input import EmptyInput
from kregistry.kernel_type.proof import Proof
from kregistry.kernel_type.setting import Setting
from kregistry.kernel_type.shape import Shape
from kregistry.kernel_type.signature import Signature
from kregistry.kernel_type.versions import ArchSupport, is_specifier

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
    "empty_input": EmptyInput,
    "handles_empty": str,
    "raises_on_empty": str,
    "passes_on": str,
    "without_effect": Mapping,
    "proof": Proof,
}
#: Declarations that name versions of DeepGEMM.
_VERSIONS = ("handles_empty", "raises_on_empty", "passes_on")
#: What the tuples of a kernel type hold.
_ITEMS: dict[str, type] = {
    "dimensions": Dimension,
    "settings": Setting,
    "function_names": str,
    "archs": ArchSupport,
}


def declaration_fault(kernel_type: object) -> str | None:
    """The first fault in the declarations of a kernel type; ``None`` if there is none."""
    if not isinstance(kernel_type, KernelType):
        return f"kregistry_kernel_types() must return KernelType objects, got {kernel_type!r}"
    faults = _faults(type(kernel_type).__name__, kernel_type)
    return next(faults, None)


def _faults(label: str, kernel_type: KernelType) -> Iterator[str]:
    """Every fault, the basic ones first: each check relies on those before it."""
    for attribute, kind in _EXPECTED.items():
        try:
            value = getattr(kernel_type, attribute, None)
        except Exception as error:  # a property of the plugin
            yield f"{label}.{attribute} raises {describe_error(error)}"
            continue
        if not isinstance(value, kind):
            yield f"{label}.{attribute} must be a {kind.__name__}{_misspelt(attribute, kernel_type)}"
    if not kernel_type.name.isidentifier():
        yield f"{label}.name must be an identifier, got {kernel_type.name!r}"
    if not kernel_type.summary.isprintable():
        yield f"{label}.summary must be one line of printable text, got {kernel_type.summary!r}"
    for attribute, kind in _ITEMS.items():
        if not all(isinstance(each, kind) for each in getattr(kernel_type, attribute)):
            yield f"{label}.{attribute} must hold {kind.__name__} objects"
    for support in kernel_type.archs:
        if not all(isinstance(text, str) for text in (support.arch, support.deep_gemm, support.reason)):
            yield f"{label}.archs: the fields of {support!r} must be texts"
    yield from _version_faults(label, kernel_type)
    examples = kernel_type.proof.examples
    if not isinstance(examples, tuple) or not all(isinstance(each, Mapping) for each in examples):
        yield f"{label}.proof.examples must be a tuple of mappings from dimensions to values"
    overridden = {type(kernel_type).read_shape, type(kernel_type).shape_of}
    if overridden == {KernelType.read_shape, KernelType.shape_of}:
        yield f"{label} must define shape_of(): the dimensions of a real call"
    yield from _dimension_faults(label, kernel_type)


def _version_faults(label: str, kernel_type: KernelType) -> Iterator[str]:
    """Texts that name no versions of DeepGEMM."""
    claims = {attribute: getattr(kernel_type, attribute) for attribute in _VERSIONS}
    claims |= {f"archs: deep_gemm of {each.arch}": each.deep_gemm for each in kernel_type.archs}
    needs = {
        f"dimensions: needs of {each.name} {value}": text
        for each in kernel_type.dimensions
        for value, text in each.needs.items()
    }
    for where, text in (claims | needs).items():
        if not is_specifier(text) and (where in needs or text != "none"):
            words = "a PEP 440 specifier such as '>=0.2'" + ", '' (all) or 'none'" * (where not in needs)
            yield f"{label}.{where} must be {words}, got {text!r}"


def _misspelt(attribute: str, kernel_type: KernelType) -> str:
    """A name that the class itself defines, that no kernel type has, and that looks like the missing one."""
    defined = {name for each in type(kernel_type).__mro__ if not issubclass(KernelType, each) for name in vars(each)}
    near = difflib.get_close_matches(attribute, sorted(defined - set(dir(KernelType)) - set(_EXPECTED)), n=1)
    return f": found {near[0]!r} instead, did you mean {attribute!r}?" if near else ""


def _dimension_faults(label: str, kernel_type: KernelType) -> Iterator[str]:
    run = kernel_type.run_dimension
    every: tuple[Dimension | RunDimension, ...] = (*kernel_type.all_dimensions, run)
    for each in every:
        declared = f"{label} declares the {'run-time ' if each is run else ''}dimension {each.name!r}"
        if not isinstance(each.name, str):
            yield f"{declared}, expected a text as its name"
        elif not each.name.isidentifier() or each.name.startswith("_"):
            yield f"{declared}, expected an identifier that does not begin with _"
        elif not isinstance(each.meaning, str) or not isinstance(each.unit, str):
            yield f"{declared}, whose meaning and unit must be texts"
        elif each is run and each.name in KERNEL_KEYS:
            yield f"{declared}, a key of every kernel in a manifest: rename it"
        elif each is not run and each.name in RESERVED_NAMES:
            yield f"{declared}, a name that is reserved in shapes or buffers: rename it"
    if not all(isinstance(number, int) and number >= 1 for number in (run.start, run.step)):
        yield f"{label}.run_dimension: start and step must be integers >= 1, got {run.start!r} and {run.step!r}"
    repeated = repeated_name(each.name for each in every)
    if repeated:
        yield f"{label} declares the dimension {repeated!r} twice"


def repeated_name(names: Iterable[str]) -> str | None:
    """The first name that occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
