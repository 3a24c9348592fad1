"""Signature: the parameters of a DeepGEMM function, written once.

Kernel types read the arguments of a real call by name. This module maps positions to names and fills in the defaults
that the caller left out.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from attrs import field, frozen

#: In place of the default of a parameter that has none, or that is not known.
_NONE = object()


class Arguments:
    """The arguments of one call by name, defaults included: ``call.recipe``. It knows which of them have been read.

    ``vars(call)`` are all of them, and counts as reading all.
    """

    __slots__ = ("__dict__", "_read")
    _read: set[str]

    def __init__(self, values: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_read", set())
        object.__getattribute__(self, "__dict__").update(values)

    def __getattribute__(self, name: str) -> Any:
        found = object.__getattribute__(self, name)
        object.__getattribute__(self, "_read").update(found if name == "__dict__" else (name,))
        return found

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the signature has no parameter {name!r}")

    @staticmethod
    def unread(call: Arguments) -> dict[str, Any]:
        """The arguments of a call that have not been read."""
        read = object.__getattribute__(call, "_read")
        return {name: value for name, value in object.__getattribute__(call, "__dict__").items() if name not in read}


@frozen
class Signature:
    """The parameters of a function of ``deep_gemm``, as Python writes them: ``"a, b, d, c=None, recipe=None"``.

    ``*args`` and ``**kwargs`` stand for optional parameters that the kernel type does not read: a call that gives one
    of them another value than the function's own default is not its call. Defaults must be literals.

    Raises:
        ValueError: the text is not a list of parameters, a name occurs twice, or a default is mutable.
    """

    text: str
    _positional: tuple[str, ...] = field(init=False, eq=False, repr=False)
    _known: frozenset[str] = field(init=False, eq=False, repr=False)
    _defaults: Mapping[str, Any] = field(init=False, eq=False, repr=False)
    #: The names after ``*`` and ``**``; empty if the text has none.
    _rest: str = field(init=False, eq=False, repr=False)
    _named_rest: str = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        try:
            parameters = _parameters(self.text)
            defaults = _defaults(parameters)
        except ValueError as error:
            raise ValueError(f"not a list of parameters with literal defaults: {self.text!r}: {error}") from error
        positional = tuple(each.arg for each in parameters.args)
        for name, value in (
            ("_positional", positional),
            ("_known", frozenset((*positional, *(each.arg for each in parameters.kwonlyargs)))),
            ("_defaults", defaults),
            ("_rest", parameters.vararg.arg if parameters.vararg else ""),
            ("_named_rest", parameters.kwarg.arg if parameters.kwarg else ""),
        ):
            object.__setattr__(self, name, value)

    @property
    def first(self) -> str:
        """Name of the first parameter; empty if it has none."""
        return self._positional[0] if self._positional else ""

    @property
    def parameters(self) -> inspect.Signature:
        """The parameters, as :func:`inspect.signature` gives them for a function."""
        kind, found = inspect.Parameter, []
        for name in self._positional:
            default = self._defaults.get(name, kind.empty)
            found.append(kind(name, kind.POSITIONAL_OR_KEYWORD, default=default))
        found += [kind(self._rest, kind.VAR_POSITIONAL)] if self._rest else []
        for name in self._known - set(self._positional):
            found.append(kind(name, kind.KEYWORD_ONLY, default=self._defaults.get(name, kind.empty)))
        found += [kind(self._named_rest, kind.VAR_KEYWORD)] if self._named_rest else []
        return inspect.Signature(found)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Arguments:
        """The arguments of a call by name.

        Raises:
            TypeError: the function has no such parameters: the call belongs to another one.
        """
        names, known = self._positional, self._known
        values = {**self._defaults, **dict(zip(names, args))}
        others = {}
        for name, value in kwargs.items():
            if name not in known:
                others[name] = value
            elif name in names[: len(args)]:
                raise self._another_function(args, kwargs)
            else:
                values[name] = value
        too_many = len(args) > len(names) and not self._rest
        if len(values) < len(known) or too_many or (others and not self._named_rest):
            raise self._another_function(args, kwargs)
        if self._rest:
            values[self._rest] = args[len(names) :]
        if self._named_rest:
            values[self._named_rest] = others
        return Arguments(values)

    def ignored(self, call: Arguments, args: tuple[Any, ...], own: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """The optional arguments of a call that have not been read, and that do not have their default.

        Args:
            call: what :meth:`bind` made of the call.
            args: its arguments by position.
            own: the parameters of the function itself, name -> default, in order; see :func:`parameters_of`.
        """
        for name, value in Arguments.unread(call).items():
            if name == self._rest:
                names = [*own][len(self._positional) : len(args)]
                padded = [*names, *(f"number {len(args) - i}" for i in range(len(value) - len(names)))]
                given = dict(zip(padded, value))
            elif name == self._named_rest:
                given = value
            elif name in self._defaults and not same_value(value, self._defaults[name]):
                given = {name: value}
            else:
                continue
            for each, found in given.items():
                default = own.get(each, _NONE)
                if default is not inspect.Parameter.empty and not same_value(found, default):  # else it is required
                    yield each, found

    def _another_function(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TypeError:
        shown = ", ".join([f"{len(args)} by position", *kwargs])
        return TypeError(f"no call of a function with the parameters ({self.text}): {shown}")


def _parameters(text: str) -> ast.arguments:
    """The parsed text.

    Raises:
        ValueError: with the reason why it is not a list of parameters.
    """
    try:
        # The line break ends a comment in the text, and the brackets permit the break.
        parsed = ast.parse(f"(lambda {text}\n: 0)", mode="eval").body
    except SyntaxError as error:
        raise ValueError(error.msg) from error
    if not isinstance(parsed, ast.Lambda) or not isinstance(parsed.body, ast.Constant):
        raise ValueError("it is more than a list of parameters")
    found = parsed.args
    if found.posonlyargs:
        raise ValueError("it has positional-only parameters")
    names = [each.arg for each in ast.walk(found) if isinstance(each, ast.arg)]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"the parameter {name!r} occurs twice")
    return found


def _defaults(parameters: ast.arguments) -> dict[str, Any]:
    """Name -> default, of the parameters that have one.

    Raises:
        ValueError: a default is not a literal, or it is mutable: all calls would share it.
    """
    positional = parameters.args[len(parameters.args) - len(parameters.defaults) :]
    pairs = [*zip(positional, parameters.defaults), *zip(parameters.kwonlyargs, parameters.kw_defaults)]
    return {parameter.arg: _literal(parameter.arg, default) for parameter, default in pairs if default is not None}


def _literal(name: str, default: ast.expr) -> Any:
    try:
        value = ast.literal_eval(default)
    except (ValueError, TypeError):
        raise ValueError(f"the default of {name!r} is not a literal: {ast.unparse(default)}") from None
    try:
        hash(value)
    except TypeError:
        raise ValueError(f"the default of {name!r} is mutable: {ast.unparse(default)}") from None
    return value


@lru_cache(maxsize=256)
def parameters_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Name -> default of the parameters of a function, in order; empty if Python cannot tell them.

    A parameter without a default has ``inspect.Parameter.empty``.
    """
    try:
        found = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return MappingProxyType({})
    many = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return MappingProxyType({each.name: each.default for each in found if each.kind not in many})


def same_value(one: Any, other: Any) -> bool:
    """Whether two arguments are the same plain value; lists count as tuples, tensors only as themselves."""
    if one is other:
        return True
    one, other = (tuple(each) if isinstance(each, list) else each for each in (one, other))
    plain = (bool, int, float, str, bytes, tuple)
    return type(one) is type(other) and isinstance(one, plain) and bool(one == other)


def as_tuple(value: Any) -> tuple[Any, ...]:
    """The items of a tuple or list; a tuple with the value itself, if it is neither."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _like(tensor: Any, dtype: str, rows_only: bool) -> Any:
    import torch

    if rows_only:
        return torch.empty(tensor.shape[:1], dtype=getattr(torch, dtype), device=tensor.device)
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=getattr(torch, dtype), device=tensor.device)


def with_arguments(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call of a function, with other values for some parameters.

    ``{"argument": "d"}`` as a value stands for the tensor that the call gives for ``d``, with ``"as": "float32"`` for a
    new one of its sizes and strides and that dtype (with ``"rows": True``, of its first size only), and
    ``{"dtype": "bfloat16"}`` for a dtype of torch. A list stands for a tuple, ``{"list": [1, 2]}`` for a list.
    """
    names, changed, named = [*parameters_of(function)], list(args), dict(kwargs)

    def given(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return tuple(value) if isinstance(value, list) else value
        if "list" in value:
            return list(value["list"])
        if "dtype" in value:
            import torch

            return getattr(torch, value["dtype"])
        name = value["argument"]
        found = named[name] if name in named else args[names.index(name)]
        tensor = found[0] if isinstance(found, (tuple, list)) else found
        return _like(tensor, value["as"], value.get("rows", False)) if "as" in value else tensor

    for name, value in values.items():
        place = names.index(name) if name in names else len(args)
        if place < len(args):
            changed[place] = given(value)
        else:
            named[name] = given(value)
    return tuple(changed), named
