"""Document: the plain data of a YAML file, with the line and column of each value."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any, cast

import yaml
from attrs import define, field

from kregistry.bounded_input import MAX_DEPTH, MAX_INTEGER, MIB, read_input_text
from kregistry.errors import ManifestError, ManifestProblem, quoted, shorten

#: Keys and indices from the root to a value.
Path_ = tuple[str | int, ...]
#: Largest size of a file in bytes.
MAX_BYTES = 4 * MIB
#: Most values of a file, keys included and aliases expanded: about 5,000 entries, and a quarter of a gigabyte.
MAX_VALUES = 100_000
#: After this many problems the rest of a file is not read.
MAX_PROBLEMS = 100


def show_path(path: Path_) -> str:
    """``models.deepseek-v3.kernels[2].shape.n``"""
    text = ""
    for step in path:
        name = shorten(str(step))  # a key of any type, before it is refused
        text += f"[{name}]" if isinstance(step, int) else f".{name}" if text else name
    return shorten(text, 400)


@define
class Document:
    """The data of a YAML file, the position of each value, and the problems found so far."""

    file: str
    data: Any
    marks: dict[Path_, tuple[int, int]]
    raw: dict[Path_, str]
    problems: list[ManifestProblem] = field(factory=list)
    #: The path of each problem.
    places: list[Path_] = field(factory=list)
    _known: set[ManifestProblem] = field(factory=set)

    def report(self, path: Path_, text: str, hint: str = "") -> None:
        """Record a problem at a path, or at its nearest parent that exists in the file.

        Raises:
            ManifestError: there are so many problems by now that the rest of the file is not read.
        """
        place = path
        while place and place not in self.marks:
            place = place[:-1]
        line, column = self.marks.get(place, (1, 1))
        problem = ManifestProblem(self.file, line, column, show_path(path), text, hint)
        if problem in self._known:  # a fan-out repeats the problem of a value that stays the same
            return
        self._known.add(problem)
        self.problems.append(problem)
        self.places.append(path)
        if len(self.problems) >= MAX_PROBLEMS:
            self.raise_problems()

    def raise_problems(self) -> None:
        """
        Raises:
            ManifestError: there is at least one problem; in the order of the file.
        """
        if self.problems:
            more = len(self.problems) >= MAX_PROBLEMS
            raise ManifestError(tuple(sorted(self.problems, key=lambda each: (each.line, each.column))), more)


def read_document(path: str | Path) -> Document:
    """Parse a YAML file. Duplicate keys are reported as problems.

    Raises:
        InputError: there is no such file, it is too large or is not text.
        StorageError: the file cannot be read.
        ManifestError: the file is not YAML, or holds more than the limits of this module.
    """
    return parse_document(read_input_text(path, MAX_BYTES), str(path))


def parse_document(text: str, file: str) -> Document:
    """Like :func:`read_document`, for a text; ``file`` is the name of the file in problems.

    Raises:
        ManifestError: the text is not YAML, or holds more than the limits of this module.
    """
    document = Document(file, None, {(): (1, 1)}, {})
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _Expansion().check(node)
            _find_duplicates(document, node, (), set())
            document.data = loader.construct_document(node)
            _remember(document, node, ())
        return document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        hint = "a git merge conflict is left in the file" if "<<<<<<<" in text else ""
        said = shorten(error.problem or error.context or "")
        raise ManifestError((ManifestProblem(file, line, column, "", f"not valid YAML: {said}", hint),)) from error
    except RecursionError:
        raise ManifestError((ManifestProblem(file, 1, 1, "", "not valid YAML: nested too deeply"),)) from None
    except (yaml.YAMLError, *_CONSTRUCTION_ERRORS) as error:
        problem = ManifestProblem(file, 1, 1, "", f"not valid YAML: {shorten(' '.join(str(error).split()))}")
        raise ManifestError((problem,)) from error
    finally:
        if loader is not None:
            loader.dispose()


#: What PyYAML's constructors raise for ``!!int x``, ``!!int ""``, ``!!bool x``, ``!!timestamp x``, ``2024-13-01`` ...
_CONSTRUCTION_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)
_TOO_LARGE = "an integer beyond 64 bits"
_MAX_DIGITS = 100  # of an integer in base 2, with underscores


class _Loader(yaml.SafeLoader):
    """PyYAML with some corrections.

    Errors of its constructors become YAML errors. ``1:32`` is a text, as in YAML 1.2, and not the number 92 (base 60).
    The number of values, the depth and the size of numbers are limited, and texts hold characters that can be printed.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._values += 1
        self._depth += 1
        if self._values > MAX_VALUES or self._depth > MAX_DEPTH:
            limit = f"more than {MAX_VALUES} values" if self._values > MAX_VALUES else "nested too deeply"
            raise yaml.MarkedYAMLError(problem=limit, problem_mark=cast(Any, self).peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        kind = node.tag.rpartition(":")[2]
        if isinstance(node, yaml.ScalarNode):
            if kind in ("int", "float") and ":" in node.value:
                return node.value
            _refuse_unprintable(node)
        if kind == "int" and isinstance(node, yaml.ScalarNode) and len(node.value) > _MAX_DIGITS:
            raise yaml.MarkedYAMLError(problem=_TOO_LARGE, problem_mark=node.start_mark)
        try:
            found = super().construct_object(node, deep)
        except _CONSTRUCTION_ERRORS as error:
            problem = str(error) if isinstance(error, ValueError) else f"not a {kind}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error
        if isinstance(found, int) and abs(found) > MAX_INTEGER:
            raise yaml.MarkedYAMLError(problem=_TOO_LARGE, problem_mark=node.start_mark)
        return found


def _refuse_unprintable(node: yaml.ScalarNode) -> None:
    """Refuse control characters and halves of surrogate pairs, which escapes can name; line ends and tabs are text."""
    if node.value.isprintable():
        return
    for character in node.value:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n\r":
            problem = f"a text with the control character U+{ord(character):04X}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


class _Expansion:
    """How many values a document has once its aliases and merge keys are expanded; PyYAML expands the latter itself."""

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._above: set[int] = set()

    def check(self, node: yaml.Node) -> None:
        """Refuse an alias inside its own anchor, because such data is infinite, and too many values."""
        if self._size(node) > MAX_VALUES:
            raise yaml.YAMLError(f"more than {MAX_VALUES} values after aliases are expanded")

    def _size(self, node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        if id(node) in self._above:
            raise yaml.MarkedYAMLError(problem="an alias inside its own anchor", problem_mark=node.start_mark)
        if id(node) not in self._sizes:
            self._above.add(id(node))
            parts = (part for item in node.value for part in (item if isinstance(item, tuple) else (item,)))
            self._sizes[id(node)] = 1 + sum(map(self._size, parts))
            self._above.remove(id(node))
        return self._sizes[id(node)]


def _find_duplicates(document: Document, node: yaml.Node, path: Path_, done: set[int]) -> None:
    """Report duplicate keys. Runs before construction, which drops them and merges ``<<``. Visits an anchor once."""
    if id(node) in done:
        return
    done.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _find_duplicates(document, item, (*path, index), done)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="found unhashable key", problem_mark=key.start_mark)
            name = key.value
            if name in seen:
                problem = f"key {quoted(name)} is already defined at line {seen[name]}"
                place = (*path, name)
                document.marks[place] = (line, column)
                document.report(place, problem, "keep one of the two")
            seen[name] = line
            _find_duplicates(document, value, (*path, name), done)


def _remember(document: Document, node: yaml.Node, path: Path_) -> None:
    document.marks[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.ScalarNode):
        document.raw[path] = node.value
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _remember(document, item, (*path, index))
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _remember(document, value, (*path, str(key.value)))
