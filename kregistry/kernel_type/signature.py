"""Signature: the parameters of a DeepGEMM function, written once.

Kernel types read the arguments of a real call by name. This module maps positions to names and fills in the defaults
that the caller left out.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


class Arguments:
    """The arguments of one call by name, defaults included: ``call.recipe``."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the signature has no parameter {name!r}")


@frozen
class Signature:
    """The parameters of a function of ``deep_gemm``, as Python writes them: ``"a, b, d, c=None, recipe=None"``.

    ``*args`` and ``**kwargs`` stand for parameters that the kernel type does not use. Defaults must be literals.

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
