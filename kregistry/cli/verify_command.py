"""kregistry verify"""

from __future__ import annotations

import click

from kregistry.cli.options import (
    Selection,
    Storage,
    json_option,
    manifest_options,
    print_json,
    storage_options,
)


@click.command(name="verify")
@manifest_options
@storage_options
@json_option
def command(selection: Selection, storage: Storage, as_json: bool) -> None:
    """Read store and JIT cache again against the plan of the manifest FILE: complete, intact, loadable."""
    from kregistry.cache import verify_kernels
    from kregistry.cli.progress import ProgressBar
    from kregistry.errors import PlanError, VerifyError
    from kregistry.plan import make_plan

    registry, manifest = selection.registry, selection.manifest()
    with ProgressBar() as progress:
        registry.listen(progress)
        plan = make_plan(manifest, registry)
    result = verify_kernels(plan.kernels.values(), storage.store, storage.jit_cache)
    problems = plan.problems()
    if as_json:
        faults = [{"id": each.kernel.id, "place": each.place, "text": each.text} for each in result.faults]
        print_json({"kernels": result.total, "intact": result.intact, "faults": faults, "problems": list(problems)})
    else:
        click.echo(f"{result.intact} of {result.total} kernels are in place and intact")
    if result.faults:
        text = f"{result.total - result.intact} of {result.total} kernels are missing or damaged"
        raise VerifyError(text, tuple(map(str, result.faults)), "kregistry build makes what is missing or damaged")
    if problems:
        raise PlanError(f"{len(problems)} problems in {len(plan.entries)} entries", problems)
