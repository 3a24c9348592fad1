"""The numbers of a family's formulas at one setting, and the texts that show where they come from."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from kregistry.hf_config.formula import FormulaError, evaluate, names, substitute
from kregistry.hf_config.model_family import LAYOUT_SYMBOLS, Family


@frozen
class WrittenSizes:
    """The values of formulas, with the text of the arithmetic.

    Attributes:
        family: whose symbols the formulas use.
        values: the number of every symbol.
    """

    family: Family
    values: Mapping[str, int]

    def size(self, formula: str) -> int:
        """The number of a formula, at least 1.

        Raises:
            FormulaError: there is no value; the text has the formula, its numbers and the meaning of its names.
        """
        try:
            value = evaluate(formula, self.values)
        except FormulaError as error:
            raise FormulaError(f"{error.text} ({self._legend(error.hint or formula)})") from error
        if value < 1:
            raise FormulaError(f"{formula} = {value}, expected at least 1 ({self._legend(formula)})")
        return value

    def _legend(self, formula: str) -> str:
        meanings = {name: f"{name} = {text}" for name, text in LAYOUT_SYMBOLS.items()}
        meanings.update({symbol.name: symbol.meaning() for symbol in self.family.symbols})
        return ", ".join(f"{meanings[name]} = {self.values[name]}" for name in self.values if name in names(formula))

    def written(self, formulas: Mapping[str, str]) -> str:
        """The arithmetic of several formulas: ``"n = H/A * hd = 64/8 * 128 = 1024; k = ..."``."""
        parts: list[str] = []
        for name, formula in formulas.items():
            steps = dict.fromkeys((formula, substitute(formula, self.values), str(evaluate(formula, self.values))))
            parts.append(" = ".join((name, *steps)))
        return "; ".join(parts)
