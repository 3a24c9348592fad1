"""Formulas as text, such as ``"H/A * (qk_nope + qk_rope)"``. They are evaluated, and printed into the manifest.

One text serves both, so that a number and its origin always agree. Operators are ``+ - *``, ``//``, ``%``, comparisons,
``and or not``, ``min() max()``, and two for ranks:

* ``/`` divides exactly. A remainder is an error: a head cannot be split;
* ``kv_heads(KV, A)`` shares KV heads over A ranks, and replicates them if there are more ranks than heads.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from kregistry.errors import InputError

#: Name -> value. It is a bug of the family if a formula uses another name.
Values = Mapping[str, int]


class FormulaError(InputError):
    """A formula has no value for these numbers; ``hint`` is the part that has none."""


def evaluate(formula: str, values: Values) -> int:
    """The value of a formula; comparisons give 0 or 1.

    Raises:
        FormulaError: a division leaves a remainder.
        InputError: the formula is malformed or uses an unknown name.
    """
    try:
        return _evaluate(_parse(formula), values)
    except ZeroDivisionError as error:
        raise FormulaError("a number cannot be divided by 0") from error


def names(formula: str) -> frozenset[str]:
    """The names that a formula uses."""
    functions = {node.func.id for node in ast.walk(_parse(formula)) if _is_call(node)}  # type: ignore[attr-defined]
    return frozenset(node.id for node in ast.walk(_parse(formula)) if isinstance(node, ast.Name)) - functions


def substitute(formula: str, values: Values) -> str:
    """The formula with numbers in place of names: ``"128/8 * (128 + 64)"``."""
    return re.sub(r"[A-Za-z_]\w*", lambda match: str(values.get(match.group(), match.group())), formula)


@lru_cache(maxsize=1024)
def _parse(formula: str) -> ast.expr:
    try:
        return ast.parse(formula, mode="eval").body
    except SyntaxError as error:
        raise InputError(f"malformed formula {formula!r}: {error.msg}") from error


def _is_call(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name)


def _divide(x: int, y: int) -> int:
    if x % y:
        raise FormulaError(f"{x} cannot be divided by {y}")
    return x // y


def _kv_heads(heads: int, ranks: int) -> int:
    """KV heads of one rank: one replica per rank if there are more ranks than heads.

    Source: ``QKVParallelLinear`` of SGLang and vLLM.
    """
    if ranks > heads and ranks % heads:
        raise FormulaError(f"{heads} key-value heads cannot be replicated evenly over {ranks} ranks")
    return 1 if ranks > heads else _divide(heads, ranks)


_BINARY: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_FUNCTIONS: Mapping[str, Callable[..., int]] = {"min": min, "max": max, "kv_heads": _kv_heads}


def _evaluate(node: ast.expr, values: Values) -> int:
    try:
        return _evaluate_node(node, values)
    except FormulaError as error:
        raise FormulaError(error.text, error.hint or ast.unparse(node)) from error


def _evaluate_node(node: ast.expr, values: Values) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.Name(id=name):
            if name not in values:
                raise InputError(f"a formula uses the unknown name {name!r}", f"known: {', '.join(sorted(values))}")
            return values[name]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _BINARY[type(op)](_evaluate(left, values), _evaluate(right, values))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return int(_COMPARE[type(op)](_evaluate(left, values), _evaluate(right, values)))
        case ast.BoolOp(op=ast.And(), values=parts):
            return int(all(_evaluate(part, values) for part in parts))
        case ast.BoolOp(op=ast.Or(), values=parts):
            return int(any(_evaluate(part, values) for part in parts))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return int(not _evaluate(operand, values))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_evaluate(argument, values) for argument in args))
    raise InputError(f"a formula may not contain {ast.unparse(node)!r}")
