"""Writes the gallery of manifests, or plans all of it and writes the totals to docs/gallery.md.

python tools/gallery.py write           manifests/*.yaml from manifests/gallery.yaml and manifests/configs/
python tools/gallery.py rehearse [WORD ...]
                                        those that a rehearsal writes, whose name has one of the words, in an
                                        environment as of .ci/engines
python tools/gallery.py plan            plan every manifest fully for each target, write docs/gallery.md
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import yaml
from attrs import evolve

from kregistry import Manifest, Plan, Registry, get_target, load_manifest, make_plan
from kregistry.cli.init_command import command as init_command
from kregistry.cli.rehearse_command import command as rehearse_command
from kregistry.compile.costs import shipped_costs

ROOT = Path(__file__).parent.parent
MANIFESTS = ROOT / "manifests"
DOCUMENT = ROOT / "docs" / "gallery.md"
#: Complete configs, which an engine can load: ``CONFIGS`` in manifests/gallery.yaml.
CONFIGS = ROOT / "tests" / "data" / "rehearsal" / "configs"
#: Target of a manifest -> the targets that it is planned for.
TARGETS = {"h100": ("h100", "h200"), "h200": ("h100", "h200"), "b200": ("b200",)}
_CORES = 16
HEAD = """\
# Gallery

Manifests of models at usual settings, in [`manifests/`](../manifests). Each is written by `kregistry init` from a
config in `manifests/configs/`, or by `kregistry rehearse` from one in `tests/data/rehearsal/configs/` (`_source` in it
says where it comes from); the first lines of each have the command.
They are written for h100, for b200 where the name says so, or for h200 where the model does not fit on h100s, with the
engines' defaults. Write your own with `--target` for another GPU. DeepSeek-R1 has the shapes of DeepSeek-V3.

- From: what wrote the entries; `init` is the formulas of the model's family, `rehearse` is the engine itself
  ([rehearsal.md](rehearsal.md), which compares the two). The engine writes a manifest where it runs on the stub GPU at
  that setting. Where it does not, or where what it finds would not hold on a server, the formulas write it, and
  `manifests/gallery.yaml` has the reason.
- Kernels: planned in full with DeepGEMM {deep_gemm} and torch {torch}, for each target alone. A manifest for h100 is
  also one for h200. An engine calls other kernels on b200, so such manifests are apart.
- Build h100: seconds of compilation on {cores} cores with one nvcc for each kernel. Computed, not run: the larger of
  sum / {cores} and the longest kernel, from the rough seconds of each kernel family
  (`kregistry/compile/compile_seconds.json`); "not run" where the seconds of a family are not in it.
- Build of b200 kernels: not run, and no seconds are recorded for them.

This file is written by `python tools/gallery.py plan`.

| manifest | from | setting | entries | kernels h100 | h200 | b200 | build h100, computed |
|---|---|---|---|---|---|---|---|"""


def settings() -> dict[str, str]:
    """Name of a manifest -> arguments of ``kregistry init``, or the command of a rehearsal."""
    content: dict[str, str] = yaml.safe_load((MANIFESTS / "gallery.yaml").read_text(encoding="utf-8"))
    return content


def rehearsed(name: str) -> bool:
    """Whether a rehearsal writes a manifest, and not the formulas of ``kregistry init``."""
    return "rehearse" in settings()[name].partition(" -- ")[0].split()


def write(directory: Path) -> list[Path]:
    """Write every manifest of the gallery that formulas give to a directory."""
    return [write_one(name, directory) for name in settings() if not rehearsed(name)]


def rehearse(name: str, directory: Path) -> Path:
    """Write a manifest of the gallery that a rehearsal gives to a directory."""
    path = directory / f"{name}.yaml"
    words = [each.replace("CONFIGS", str(CONFIGS)) for each in shlex.split(settings()[name])]
    start, split = words.index("rehearse"), words.index("--")
    variables = dict(each.split("=", 1) for each in words[:start])
    own = ["--name", name.rpartition(".")[0], "--force", "-o", str(path)]
    with mock.patch.dict(os.environ, variables):
        rehearse_command.main([*words[start + 1 : split], *own, *words[split:]], standalone_mode=False)
    return path


def together(names: Iterable[str]) -> list[str]:
    """Names that a rehearsal writes in an order where those of one engine, target and environment are together."""
    return sorted(names, key=lambda name: settings()[name].partition(" -- ")[0].split()[::-1])


def write_one(name: str, directory: Path) -> Path:
    path = directory / f"{name}.yaml"
    arguments = shlex.split(settings()[name])
    config = arguments.index("--config") + 1
    arguments[config] = str(MANIFESTS / "configs" / arguments[config])
    model = name.rpartition(".")[0]
    init_command.main([*arguments, "--name", model, "--force", "-o", str(path)], standalone_mode=False)
    return path


def plan_together(
    paths: Iterable[Path],
    registry: Registry,
    target: str,
    stride: int = 1,
    stub_directory: Path | None = None,
) -> dict[Path, Plan]:
    """Plan several manifests in one dry run. Call sites that several manifests share are swept once.

    Args:
        paths: the manifests.
        registry: the kernel types.
        target: name of a target.
        stub_directory: as for :func:`kregistry.make_plan`.
        stride: sweep only each ``stride``-th value of each range: a quick check, not a complete plan.
    """
    manifests = {path: load_manifest(path, registry, target) for path in paths}
    entries = {(each.shape, each.range): each for manifest in manifests.values() for each in manifest.entries}
    swept = tuple(evolve(each, range=evolve(each.range, step=each.range.step * stride)) for each in entries.values())
    together = Manifest("gallery", get_target(target), ("gallery",), swept, {})
    whole = make_plan(together, registry, stub_directory=stub_directory)
    planned = dict(zip(entries, whole.entries))
    plans: dict[Path, Plan] = {}
    for path, manifest in manifests.items():
        own = tuple(evolve(planned[each.shape, each.range], entry=each) for each in manifest.entries)
        used = {kernel for each in own for kernel in each.kernels()}
        plans[path] = Plan(whole.target, whole.versions, {k: v for k, v in whole.kernels.items() if k in used}, own)
    return plans


def target_of(name: str) -> str:
    """The target that a manifest is written for."""
    return next(target for target in reversed(TARGETS) if target == "h100" or f"--target {target}" in settings()[name])


def paths_of(target: str) -> list[Path]:
    """The manifests that are planned for a target."""
    return [MANIFESTS / f"{name}.yaml" for name in settings() if target in TARGETS[target_of(name)]]


def record() -> None:
    """Plan the whole gallery, each manifest for its targets, and write the table."""
    registry = Registry()
    every = list(dict.fromkeys(target for group in TARGETS.values() for target in group))
    plans = {target: plan_together(paths_of(target), registry, target) for target in every}
    problems = [line for each in plans.values() for plan in each.values() for line in plan.problems()]
    if problems:
        sys.exit("\n".join(problems))
    versions = next(iter(plans["h100"].values())).versions
    lines = [HEAD.format(deep_gemm=versions.deep_gemm, torch=versions.torch, cores=_CORES)]
    for name in settings():
        path = MANIFESTS / f"{name}.yaml"
        own = {target: plans[target][path] for target in every if path in plans[target]}
        first = next(iter(own.values()))
        counts = " | ".join(str(len(own[target].kernels)) if target in own else "-" for target in every)
        built = _build_seconds(own["h100"]) if "h100" in own else "not run"
        lines.append(f"| {path.name} | {origin(name)} | {len(first.entries)} | {counts} | {built} |")
    lines.append("")
    for target in every:
        union = {kernel for plan in plans[target].values() for kernel in plan.kernels}
        count = len(paths_of(target))
        lines.append(f"The {count} manifests for {target} together need {len(union)} kernels.")
    DOCUMENT.write_text("\n".join(lines) + "\n", encoding="utf-8")


def origin(name: str) -> str:
    """What wrote a manifest, and with which arguments: two cells of the table."""
    setting = settings()[name]
    if not rehearsed(name):
        return f"init | `{setting.split(maxsplit=2)[2]}`"
    before, _, after = setting.partition(" -- ")
    words = before.split()
    start = words.index("rehearse")
    options = " ".join([*words[:start], words[start + 1], *words[start + 2 :], *after.split()[2:]])
    return f"rehearse | `{options.replace(' --target h100', '')}`"


def _build_seconds(plan: Plan) -> str:
    costs = shipped_costs()
    if any(kernel.name not in costs for kernel in plan.kernels.values()):
        return "not run"
    each = [costs[kernel.name].alone for kernel in plan.kernels.values()]
    return f"{max(sum(each) / _CORES, max(each)):.0f} s"


def rehearse_those_with(words: list[str]) -> None:
    """Write the manifests of rehearsals whose name has one of the words, or all."""
    from forked_rehearsals import ForkedRehearsals

    with ForkedRehearsals() as forks, forks.used():
        for name in together(filter(rehearsed, settings())):
            if not words or any(word in name for word in words):
                print(name, file=sys.stderr)
                rehearse(name, MANIFESTS)


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        write(MANIFESTS)
    elif sys.argv[1:2] == ["rehearse"]:
        rehearse_those_with(sys.argv[2:])
    elif sys.argv[1:] == ["plan"]:
        record()
    else:
        sys.exit(__doc__)
