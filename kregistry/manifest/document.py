"""Document: the plain data of a YAML file, with the line and column of each value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from attrs import define, field

from kregistry.errors import ManifestError, ManifestProblem, StorageError

#: Keys and indices from the root to a value.
Path_ = tuple[str | int, ...]
#: A file whose aliases expand to more values than this is refused as a mistake or an attack.
_MAX_VALUES = 1_000_000


def show_path(path: Path_) -> str:
    """``models.deepseek-v3.kernels[2].shape.n``"""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


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

    def report(self, path: Path_, text: str, hint: str = "") -> None:
        """Record a problem at a path, or at its nearest parent that exists in the file."""
        place = path
        while place and place not in self.marks:
            place = place[:-1]
        line, column = self.marks.get(place, (1, 1))
        problem = ManifestProblem(self.file, line, column, show_path(path), text, hint)
        if problem not in self.problems:  # a fan-out repeats the problem of a value that stays the same
            self.problems.append(problem)
            self.places.append(path)

    def raise_problems(self) -> None:
        """
        Raises:
            ManifestError: there is at least one problem; in the order of the file.
        """
        if self.problems:
            raise ManifestError(tuple(sorted(self.problems, key=lambda each: (each.line, each.column))))


def read_document(path: str | Path) -> Document:
    """Parse a YAML file. Duplicate keys are reported as problems.

    Raises:
        StorageError: the file cannot be read.
        ManifestError: the file is not YAML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise StorageError.from_oserror(error, path) from error
    except UnicodeDecodeError as error:
        raise StorageError(str(path), f"not UTF-8 text: {error.reason} at byte {error.start}") from error
    return parse_document(text, str(path))


def parse_document(text: str, file: str) -> Document:
    """Like :func:`read_document`, for a text; ``file`` is the name of the file in problems."""
    document = Document(file, None, {(): (1, 1)}, {})
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _refuse_cycles(node, set(), set())
            _find_duplicates(document, node, (), set())
            document.data = loader.construct_document(node)
            _remember(document, node, ())
        return document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        hint = "a git merge conflict is left in the file" if "<<<<<<<" in text else ""
        problem = ManifestProblem(file, line, column, "", f"not valid YAML: {error.problem or error.context}", hint)
        raise ManifestError((problem,)) from error
    except RecursionError:
        raise ManifestError((ManifestProblem(file, 1, 1, "", "not valid YAML: nested too deeply"),)) from None
    except yaml.YAMLError as error:
        problem = ManifestProblem(file, 1, 1, "", f"not valid YAML: {' '.join(str(error).split())}")
        raise ManifestError((problem,)) from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """PyYAML with two corrections.

    PyYAML raises errors of int(), datetime and re (``2024-13-01``, ``!!int x``, ``!!timestamp x``), which become
    YAML errors here. PyYAML reads ``1:32`` as the number 92 (base 60): here it is a text, as in YAML 1.2.
    """

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        kind = node.tag.rpartition(":")[2]
        if isinstance(node, yaml.ScalarNode) and kind in ("int", "float") and ":" in node.value:
            return node.value
        try:
            return super().construct_object(node, deep)
        except (ValueError, AttributeError) as error:
            problem = str(error) if isinstance(error, ValueError) else f"not a {kind}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


def _refuse_cycles(node: yaml.Node, above: set[int], whole: set[int]) -> None:
    """Refuse an alias inside its own anchor, because such data is infinite."""
    if id(node) in above:
        raise yaml.MarkedYAMLError(problem="an alias inside its own anchor", problem_mark=node.start_mark)
    if id(node) in whole or isinstance(node, yaml.ScalarNode):
        return
    above.add(id(node))
    for item in node.value:
        for part in item if isinstance(item, tuple) else (item,):
            _refuse_cycles(part, above, whole)
    above.remove(id(node))
    whole.add(id(node))


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
            name = str(key.value)
            if name in seen:
                problem = f"key {name!r} is already defined at line {seen[name]}"
                place = (*path, name)
                document.marks[place] = (line, column)
                document.report(place, problem, "keep one of the two")
            seen[name] = line
            _find_duplicates(document, value, (*path, name), done)


def _remember(document: Document, node: yaml.Node, path: Path_) -> None:
    document.marks[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if len(document.marks) > _MAX_VALUES:
        raise yaml.YAMLError(f"more than {_MAX_VALUES} values after aliases are expanded")
    if isinstance(node, yaml.ScalarNode):
        document.raw[path] = node.value
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _remember(document, item, (*path, index))
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _remember(document, value, (*path, str(key.value)))
