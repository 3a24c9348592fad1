"""kregistry verify"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from kregistry.cli.next_command import next_command
from kregistry.cli.option_values import Selection, Storage, Verbosity
from kregistry.cli.options import (
    allow_broken_option,
    json_option,
    manifest_options,
    print_json,
    replan_option,
    storage_options,
    verbosity_options,
)
from kregistry.cli.output import echo
from kregistry.cli.problems import PlanOutcome, raise_problems
from kregistry.cli.remote_kernels import lock_option
from kregistry.cli.remote_options import trust_options
from kregistry.errors import InputError
from kregistry.remote.gate import TrustSettings


@click.command(name="verify")
@manifest_options
@lock_option
@click.option("--remote", "url", metavar="URL", help="Check the kernels of this remote or bundle, and keep none.")
@partial(trust_options, signs=False)
@storage_options
@replan_option
@verbosity_options
@allow_broken_option
@json_option
def command(
    selection: Selection,
    lock: Path | None,
    url: str | None,
    trust: TrustSettings,
    storage: Storage,
    replan: bool,
    verbosity: Verbosity,
    allow_broken: bool,
    as_json: bool,
) -> None:
    """Check that store and JIT cache hold every kernel of the manifest FILE (default: kernels.yaml), intact.

    With --remote, the kernels of a remote are read and checked instead, with their signatures if there is a policy.
    """
    if url is not None:
        from kregistry.cli.verify_remote import verify_remote

        verify_remote(url, selection, lock, storage.store, trust, verbosity, as_json)
        return
    if lock is not None:
        raise InputError("--lock is used with --remote only", "the JIT cache is checked against a manifest")
    from kregistry.cli.progress import ProgressBar
    from kregistry.errors import VerifyError
    from kregistry.plan.kept_plans import plan_path
    from kregistry.plan.planner import make_plan
    from kregistry.store import old_format
    from kregistry.toolchain import find_toolchain
    from kregistry.verify import plan_fault, verify_kernels

    registry, manifest = selection.registry, selection.manifest()
    jit_cache = storage.jit_cache_of(manifest)
    toolchain = find_toolchain()
    stale = plan_fault(plan_path(storage.store.directory, manifest, registry.choosing(manifest.providers), toolchain))
    keep_in = None if stale else storage.store.directory
    with ProgressBar(registry, verbosity, manifest, storage.store.directory, builds=False):
        plan = make_plan(manifest, registry, toolchain=toolchain, keep_in=keep_in, replan=replan)
    verbosity.report_plan(plan)
    outcome = PlanOutcome.from_store(plan, storage.store)
    broken = {each.kernel for each in outcome.broken}
    compiling = [kernel for kernel in plan.kernels.values() if kernel.id not in broken]
    result = verify_kernels(compiling, storage.store, jit_cache)
    storage.warn_of_places(manifest, compiling, jit_cache)
    faults = (*result.faults, *((stale,) if stale else ()))
    if as_json:
        shown = [{"id": each.subject, "place": each.place, "text": each.text} for each in faults]
        print_json(
            {
                "kernels": len(plan.kernels),
                "intact": result.intact,
                "faults": shown,
                "broken": [each.to_json() for each in outcome.broken],
                "problems": list(plan.problems()),
            }
        )
    else:
        echo(f"{result.intact} of {len(plan.kernels)} kernels are in place and intact")
    if faults:
        text = f"{result.total - result.intact} of {len(plan.kernels)} kernels are missing or damaged"
        if stale:
            text += ", and the plan is damaged"
        build = next_command("build")
        hint = f"{build} compiles what is missing or damaged"
        if old_format.is_outdated(storage.store.directory):
            hint = f"kregistry 0.1.0 has filled the store: {build} compiles its kernels again"
        raise VerifyError(text, tuple(map(str, faults)), hint)
    raise_problems(outcome, allow_broken=allow_broken)
