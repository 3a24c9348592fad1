"""The imports of a package, read without running it: those in functions and for type checkers count like the others."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen


@frozen
class Import:
    """One import of one module by another, both in the package or the one that was asked for.

    Attributes:
        place: ``file:line``.
        source: the module that imports.
        target: the module that is imported; for ``from package import name`` the module of that name, if there is one.
        name: what is imported from it, if it is no module.
    """

    place: str
    source: str
    target: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.source} -> {self.target}"


def modules(root: Path, package: str) -> dict[str, Path]:
    """Name -> file of every module of a package in ``root``; a folder without ``__init__.py`` is data."""
    found: dict[str, Path] = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        folders = [root.joinpath(*parts[:depth]) for depth in range(1, len(parts))]
        if all((folder / "__init__.py").exists() for folder in folders):
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path, package: str, of: str | None = None) -> list[Import]:
    """Every import, by a module of ``package``, of a module of the package ``of`` (default: the same)."""
    own = modules(root, package)
    known = modules(root, of) if of else own
    return [
        Import(f"{path.relative_to(root)}:{line}", source, *_module_and_name(target, name, known))
        for source, path in own.items()
        for line, target, name in _read(path, source)
        if target.partition(".")[0] == (of or package)
    ]


def _read(path: Path, source: str) -> Iterator[tuple[int, str, str]]:
    """(line, module, name of it or empty) of each import."""
    folder = source.split(".") if path.name == "__init__.py" else source.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(folder[: len(folder) - node.level + 1]) if node.level else ""
            target = ".".join(filter(None, (base, node.module)))
            yield from ((node.lineno, target, alias.name) for alias in node.names)


def _module_and_name(target: str, name: str, known: Mapping[str, Path]) -> tuple[str, str]:
    module = f"{target}.{name}"
    return (module, "") if module in known else (target, name)


def upward(found: Iterable[Import], floors: Sequence[Sequence[str]]) -> list[Import]:
    """The imports that lead to a higher floor, or to another room of the same floor.

    Args:
        found: the imports of one package.
        floors: from the bottom, the rooms of each floor: modules and packages that stand in the package itself; the
            package's own ``__init__`` is the room of its name.

    Raises:
        KeyError: a room stands on no floor.
    """
    level = {room: number for number, rooms in enumerate(floors) for room in rooms}

    def room(module: str) -> str:
        parts = module.split(".")
        return parts[1] if len(parts) > 1 else parts[0]

    return [
        each
        for each in found
        if room(each.source) != room(each.target) and level[room(each.source)] <= level[room(each.target)]
    ]


def cycles(found: Iterable[Import]) -> list[tuple[str, ...]]:
    """Modules that import each other, round about or directly: each such set, sorted."""
    edges: dict[str, set[str]] = {}
    for each in found:
        edges.setdefault(each.source, set()).add(each.target)
    reach = {module: _reachable(module, edges) for module in edges}
    together = {
        tuple(sorted(other for other in reached if module in reach.get(other, ())))
        for module, reached in reach.items()
        if module in reached
    }
    return sorted(together)


def _reachable(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    todo = [start]
    while todo:
        for module in edges.get(todo.pop(), ()):
            if module not in reached:
                reached.add(module)
                todo.append(module)
    return reached
