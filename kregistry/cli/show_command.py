"""kregistry show"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kregistry.cli import complete
from kregistry.cli.next_command import next_command
from kregistry.cli.option_values import Selection, Storage, Verbosity
from kregistry.cli.options import (
    json_option,
    print_json,
    replan_option,
    selection_options,
    storage_options,
    verbosity_options,
)
from kregistry.cli.output import echo
from kregistry.errors import InputError

if TYPE_CHECKING:
    from kregistry.events.planned import PlannedEntry
    from kregistry.report.kernel_facts import KernelFacts


@click.command(name="show")
@click.argument(
    "words", nargs=-1, shell_complete=complete.words_of_show, metavar="[FILE] [ENTRY | FILE:LINE] [NAME=VALUE ...]"
)
@selection_options(
    click.option(
        "-f",
        "--file",
        type=click.Path(path_type=Path),
        default=Path("kernels.yaml"),
        help="The same as FILE: a manifest or lock file (default: kernels.yaml).",
    )
)
@storage_options
@replan_option
@verbosity_options
@json_option
def command(
    words: tuple[str, ...],
    selection: Selection,
    storage: Storage,
    replan: bool,
    verbosity: Verbosity,
    as_json: bool,
) -> None:
    """Show which m needs which kernel.

    Without ENTRY: a bar for each entry. FILE is a manifest or lock file (default: kernels.yaml). ENTRY is a kernel type
    or a part of a label, FILE:LINE an entry by its line, and NAME=VALUE a dimension. With a value of m: its kernels,
    with template arguments, size, place, and why.

    \b
    kregistry show
    kregistry show o_proj
    kregistry show fp8_gemm_nt n=7168 k=2048 m=300
    kregistry show kernels.yaml:17 m=300
    kregistry show other.yaml o_proj
    """
    from attrs import evolve

    from kregistry.cli.report_command import find_build_log, planned
    from kregistry.report.kernel_facts import kernel_facts
    from kregistry.report.selection import EntrySelection

    chosen = EntrySelection.parse(words)
    if chosen.file is not None:
        context = click.get_current_context()
        given = context.get_parameter_source("file") is click.core.ParameterSource.COMMANDLINE
        if given and selection.file != chosen.file:
            raise InputError(f"two files: {selection.file} and {chosen.file}", "name one of them")
        selection = evolve(selection, file=chosen.file)
    plan, jit_cache = planned(selection, storage, verbosity, replan=replan)
    entries = chosen.find(plan.entries, selection.file)
    facts = kernel_facts(plan, storage.store, jit_cache, find_build_log(storage, plan, None))
    if as_json:
        print_json([_json(each, facts, chosen.m(each)) for each in entries])
    elif any(chosen.m(each) is not None for each in entries):
        _explain(entries, facts, chosen, plan.versions.deep_gemm, plan.target.name)
    else:
        _draw(entries, facts, selection.file)


def _explain(
    entries: tuple[PlannedEntry, ...], facts: Mapping[str, KernelFacts], chosen: Any, deep_gemm: str, target: str
) -> None:
    from kregistry.report.why import explain

    for number, planned in enumerate(entries):
        if number:
            echo()
        m = chosen.m(planned)
        for title, text in explain(planned, m, facts, deep_gemm, target):
            echo(text, mark=f"{click.style(f'{title:<9}', bold=True)} " if title else " " * 10)


def _draw(entries: tuple[PlannedEntry, ...], facts: Mapping[str, KernelFacts], file: Path) -> None:
    from kregistry.cli.tables import terminal_width
    from kregistry.report.text_map import Colours, axis_line, bar, kernel_lines

    width = terminal_width()
    colours = Colours(facts, styled=width is not None)
    columns = min(width or 100, 120) - 2
    if len(entries) == 1:
        (planned,) = entries
        echo(str(planned.entry))
        echo(axis_line(planned.entry.range, columns))
        echo(mark=bar(planned, colours, columns))
        for mark, line in kernel_lines(planned, facts, colours):
            echo(line, mark=f"{mark} ")
        return
    model = ""
    for planned in entries:
        if planned.entry.model != model:
            model = planned.entry.model
            echo(model, mark=click.style("model ", bold=True))
        name = planned.entry.label or planned.entry.kernel_type
        echo(f"{name}: {planned.entry.kernel_type} {planned.entry.shape}, {planned.entry.range}")
        echo(mark=f"  {bar(planned, colours, columns - 2)}")
    echo("m grows to the right, on a logarithmic axis; each change of the block is another kernel")
    show = next_command("show", *(() if file == Path("kernels.yaml") else (str(file),)), file=None)
    echo(f"{show} NAME names the kernels of an entry, {show} NAME m=300 explains one")


def _json(planned: PlannedEntry, facts: Mapping[str, KernelFacts], m: int | None) -> dict[str, Any]:
    segments = [each for each in planned.segments if m is None or each.start <= m <= each.stop]
    kernels = dict.fromkeys(kernel for each in segments for kernel in each.kernels)
    return {
        "model": planned.entry.model,
        "type": planned.entry.kernel_type,
        "label": planned.entry.label,
        "shape": planned.entry.shape.shown(),
        "range": planned.entry.range.to_json(),
        "m": m,
        "segments": [{"start": each.start, "stop": each.stop, "kernels": list(each.kernels)} for each in segments],
        "kernels": {
            kernel: {
                "template_arguments": facts[kernel].values(),
                "bytes": facts[kernel].nbytes,
                "seconds": facts[kernel].seconds,
                "state": facts[kernel].state,
                "cubin": str(facts[kernel].place),
            }
            for kernel in kernels
        },
    }
