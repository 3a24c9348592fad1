"""The format of manifests as attrs classes, with strict structuring by cattrs.

These classes are the only declaration of the format. The reader and the JSON Schema both use them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import cattrs
from attrs import NOTHING, field, fields, frozen
from attrs.validators import ge
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)

from kregistry.errors import nearest_hint, quoted
from kregistry.manifest.document import Document, Path_

T = TypeVar("T")
#: Engines whose JIT cache is known.
ENGINES = ("sglang", "vllm")


def _meaning(text: str, **options: Any) -> Any:
    return field(metadata={"meaning": text}, **options)


def _number(text: str, minimum: int) -> Any:
    """An optional number with a minimum, for the reader and for the JSON Schema."""
    metadata = {"meaning": text, "minimum": minimum}
    return field(default=None, metadata=metadata, validator=lambda *a: _at_least(minimum, *a))


@frozen
class RangeSource:
    """The range of a run-time dimension; ``stop`` is included."""

    stop: int | None = _number("last value, included", 1)
    start: int | None = _number("first value", 0)
    step: int | None = _number("distance between values", 1)


@frozen
class TargetSource:
    """A target of the manifest: a built-in one with changes, or a complete declaration."""

    name: str = _meaning("name of the target")
    base: str | None = _meaning("a built-in target that the other keys change", default=None)
    device_name: str | None = _meaning("name that the CUDA runtime reports", default=None)
    compute_capability: str | None = _meaning('quoted, e.g. "9.0"', default=None)
    num_sms: int | None = _meaning("streaming multiprocessors", default=None)
    l2_bytes: int | None = _meaning("bytes of L2 cache", default=None)
    memory_bytes: int | None = _meaning("bytes of device memory", default=None)


@frozen
class KernelSource:
    """One or more call sites of one kernel type. The range has the name of the run-time dimension as its key."""

    type: str = _meaning("name of a kernel type (kregistry list)")
    shape: Any = _meaning("its dimensions: a mapping, or a list of them; lists of values fan out")
    label: str = _meaning("name of the layer in the model's code", default="")


@frozen
class ModelSource:
    """The kernels that one model calls at one parallel setting."""

    kernels: list[Any] = _meaning("the call sites")
    description: str = _meaning("model and parallel setting, as a comment", default="")


@frozen
class ManifestSource:
    """A whole file."""

    version: int = _meaning("version of the format: 1")
    models: dict[str, Any] = _meaning("models by name")
    target: Any = _meaning("a target's name (kregistry targets), or a mapping that declares one", default=None)
    engine: str = _meaning("the engine of the servers, sglang or vllm: kernels go where it looks for them", default="")
    defaults: dict[str, Any] = _meaning("ranges by run-time dimension, for entries without one", factory=dict)
    providers: dict[str, str] = _meaning("kernel type -> plugin, if two plugins offer it", factory=dict)


def _at_least(minimum: int, instance: Any, attribute: Any, value: Any) -> None:
    if value is not None:
        try:
            ge(minimum)(instance, attribute, value)
        except ValueError:
            raise ValueError(f"expected an integer >= {minimum}, got {value}", attribute.name) from None


def describe(value: object) -> str:
    """A value as written in YAML, for messages "expected ..., got ..."."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return quoted(value)


class _WrongType(ValueError):
    pass


def _strict(kind: type, words: str) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise _WrongType(f"expected {words}, got {describe(value)}")
        return value

    return structure


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, words in ((int, "an integer"), (str, "a string"), (bool, "true or false"), (float, "a number")):
        converter.register_structure_hook(kind, _strict(kind, words))
    converter.register_structure_hook_func(lambda kind: kind == dict[str, Any], _strict(dict, "a mapping"))
    converter.register_structure_hook_func(lambda kind: kind == list[Any], _strict(list, "a list"))
    texts: Any = converter.gen_structure_mapping(dict[str, str])

    def structure_texts(value: Any, kind: Any) -> Any:
        return texts(_strict(dict, "a mapping")(value, kind), kind)

    converter.register_structure_hook_func(lambda kind: kind == dict[str, str], structure_texts)
    return converter


_CONVERTER = _converter()


def structure(document: Document, data: object, kind: type[T], path: Path_, *, partial: bool = False) -> T | None:
    """``data`` as an instance of ``kind``, or ``None`` after all its problems have been reported.

    With ``partial``, wrong keys that are not required are left out, so that the other keys are checked in the same run.
    """
    if not isinstance(data, dict):
        document.report(path, f"expected a mapping, got {describe(data)}", _range_hint(document, path))
        return None
    bad_keys = [key for key in data if not isinstance(key, str)]
    for key in bad_keys:
        document.report((*path, str(key)), f"expected a string as key, got {describe(key)}", "quote it")
    if bad_keys:
        return None
    attributes: Any = fields(cast(Any, kind))
    required = {attribute.name for attribute in attributes if attribute.default is NOTHING}
    given = dict(data)
    while True:
        try:
            found = _CONVERTER.structure(given, kind)
        except (ClassValidationError, IterableValidationError) as error:
            # attrs' validators stop at the first error: retry without the wrong keys to find the next one.
            wrong = _report(document, error, kind, path)
            given = {key: value for key, value in given.items() if key not in wrong}
            if not required <= given.keys():
                return None
        else:
            return found if partial or len(given) == len(data) else None


def _report(document: Document, error: BaseException, kind: type, path: Path_) -> set[str]:
    """Report all errors of a tree of errors. cattrs' notes name the attribute or index of each error.

    Returns:
        The keys of the outermost mapping that are wrong.
    """
    reported = len(document.problems)
    _walk(document, error, kind, path)
    return {str(each[len(path)]) for each in document.places[reported:] if len(each) > len(path)}


def _walk(document: Document, error: BaseException, kind: type, path: Path_) -> None:
    if isinstance(error, (ClassValidationError, IterableValidationError)):
        placed, rest = error.group_exceptions()
        note: Any
        for inner, note in placed:
            step = note.name if isinstance(note, AttributeValidationNote) else note.index
            _walk(document, inner, kind, (*path, step))
        for inner in rest:
            _walk(document, inner, kind, path)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [attribute.name for attribute in fields(kind)]
        for key in sorted(error.extra_fields):
            document.report((*path, key), "unknown key", nearest_hint(key, known, "key"))
    elif isinstance(error, KeyError):
        document.report(path, f"the key {quoted(error.args[0])} is missing")
    else:
        # Our validators add the name of the attribute, because attrs runs the validators of a class together.
        place = (*path, error.args[1]) if len(error.args) == 2 else path
        document.report(place, str(error.args[0]), _range_hint(document, place))


def _range_hint(document: Document, path: Path_) -> str:
    """A hint for ``1:64``, a common mistake for a range."""
    head, colon, tail = document.raw.get(path, "").partition(":")
    if colon and len(head + tail) < 20 and head.isdigit() and tail.isdigit():
        return f"a range is written {{start: {head}, stop: {tail}}}"
    return ""
