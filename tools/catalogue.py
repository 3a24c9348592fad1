"""The catalogue of kernel types: docs/catalogue.md, from the installed plugins and from plans on both stacks.

python tools/catalogue.py plan          plan the typical shapes on the installed stack, for docs/catalogue.json
python tools/catalogue.py write         write docs/catalogue.md
python tools/catalogue.py check         exit 1 if docs/catalogue.md is not what `write` would write

Run `plan` on each stack (docs/stacks.md); it keeps the counts of the other stack.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from kregistry import EmptyInput, KernelType, Registry, get_target  # noqa: E402
from kregistry.toolchain import find_toolchain  # noqa: E402
from tests.plugins.catalogue_cases import CASES  # noqa: E402
from tests.plugins.planned_counts import TARGETS, Count, name_of, planned_counts  # noqa: E402
from tests.plugins.stack import VERSIONS, installed_stack  # noqa: E402

COUNTS = ROOT / "docs" / "catalogue.json"
DOCUMENT = ROOT / "docs" / "catalogue.md"
STACKS = {"0.1": "A", "0.2": "B"}
PROVIDER = "kregistry"
_EMPTY = {EmptyInput.RETURN: "returns", EmptyInput.ZERO_OUTPUTS: "writes zeros", EmptyInput.LAUNCH: "launches"}

HEAD = """\
# Catalogue

This file is written by `python tools/catalogue.py write`. `kregistry list NAME` shows the dimensions of a kernel type
with allowed values, defaults and units.

## Kernel types

Stack A is DeepGEMM {A}, stack B is DeepGEMM {B} ([stacks.md](stacks.md)). A number in brackets is
a reason, below the table. Where an arch is supported, a shape may still be refused; `kregistry check` and
`kregistry plan` say by which rule.

- Empty input: what a call does when the value that varies is 0: it returns without a launch, writes zeros without
  one, or launches as usual.
- Bytes: those of the caller's buffers are exact for every kernel type. "and workspace": what DeepGEMM allocates
  inside is declared too.
"""
COUNTS_HEAD = """\
## Kernels of typical shapes

Found by planning on a stub GPU; nothing was run on hardware for this table. Kernels that convert scale factors
count, and so do those that add up split sums. Every value was planned on rtx-pro-6000; on h100 and b200 every value at
which DeepGEMM may change the kernel (see `tests/plugins/catalogue_cases.py`). The last pair of numbers is the range
of what varies.
"""


def recorded_counts(stack: str, target: str) -> Mapping[str, Count]:
    """The counts of one stack and target in docs/catalogue.json."""
    recorded = _read()["counts"]
    return {name: columns[stack][target] for name, columns in recorded.items() if target in columns.get(stack, {})}


def _read() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(COUNTS.read_text()) if COUNTS.exists() else {"versions": {}, "counts": {}}
    return content


def plan() -> None:
    """Plan all cases for all targets on the installed stack."""
    content, stack, registry = _read(), installed_stack(), Registry()
    columns = {target: planned_counts(registry, target) for target in TARGETS}
    content["versions"][stack] = find_toolchain().versions.to_json()
    content["versions"] = dict(sorted(content["versions"].items()))
    before = content["counts"]
    content["counts"] = {}
    for name in map(name_of, CASES):
        found = {**before.get(name, {}), stack: {target: columns[target][name] for target in TARGETS}}
        content["counts"][name] = dict(sorted(found.items()))
    COUNTS.write_text(json.dumps(content, indent=1) + "\n")


class _Reasons:
    """Reasons by number, in the order of their first use."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, reason: str) -> str:
        return f"[{self._numbers.setdefault(reason, len(self._numbers) + 1)}]"

    def lines(self) -> Iterator[str]:
        for reason, number in self._numbers.items():
            yield f"- [{number}] {_escaped(reason)}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _table(columns: list[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _kernel_types(registry: Registry, reasons: _Reasons) -> Iterator[list[str]]:
    for registration in registry.registrations():
        if registration.provider.distribution != PROVIDER:
            continue
        kernel_type = registration.kernel_type
        yield [
            f"`{kernel_type.name}`",
            ", ".join(f"`{name}`" for name in kernel_type.function_names),
            ", ".join(dimension.name for dimension in kernel_type.all_dimensions) or "-",
            kernel_type.run_dimension.name,
            *(_support(kernel_type, target, version, reasons) for version in VERSIONS.values() for target in TARGETS),
            _EMPTY[kernel_type.empty_input],
            "buffers and workspace" if _declares_workspace(kernel_type) else "buffers",
        ]


def _support(kernel_type: KernelType, target: str, version: str, reasons: _Reasons) -> str:
    reason = kernel_type.unsupported_reason(get_target(target), version)
    return "yes" if reason is None else f"no {reasons.mark(reason)}"


def _declares_workspace(kernel_type: KernelType) -> bool:
    return type(kernel_type).workspace_requirement is not KernelType.workspace_requirement


def _counts(reasons: _Reasons) -> Iterator[list[str]]:
    for name, columns in _read()["counts"].items():
        kernel_type, _, words = name.partition(" ")
        cells = [
            "" if stack not in columns else _cell(columns[stack][target], reasons)
            for stack in STACKS
            for target in TARGETS
        ]
        yield [f"`{kernel_type}`", _escaped(words), *cells]


def _cell(count: Count, reasons: _Reasons) -> str:
    return str(count) if isinstance(count, int) else f"refused {reasons.mark(count)}"


def render() -> str:
    """The whole document."""
    registry, reasons, refusals = Registry(), _Reasons(), _Reasons()
    names = {STACKS[stack]: version for stack, version in VERSIONS.items()}
    stacks = [f"{letter}: {target}" for letter in STACKS.values() for target in TARGETS]
    columns = ["kernel type", "functions of deep_gemm", "dimensions", "varies", *stacks, "empty input", "bytes"]
    lines = [HEAD.format(**names), *_table(columns, _kernel_types(registry, reasons)), "", *reasons.lines(), ""]
    lines += [COUNTS_HEAD, *_table(["kernel type", "shape, range", *stacks], _counts(refusals)), "", *refusals.lines()]
    return "\n".join(lines) + "\n"


def main(command: str) -> int:
    if command == "plan":
        plan()
    elif command == "write":
        DOCUMENT.write_text(render())
    elif command == "check":
        return int(not DOCUMENT.exists() or DOCUMENT.read_text() != render())
    else:
        sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
