"""kregistry bundle"""

from __future__ import annotations

from pathlib import Path

import click

from kregistry.cli.next_command import next_command
from kregistry.cli.option_values import Selection, Verbosity
from kregistry.cli.options import manifest_options, store_option, verbosity_options
from kregistry.cli.output import echo
from kregistry.cli.remote_kernels import lock_option, wanted
from kregistry.cli.remote_options import sign_option
from kregistry.errors import IncompleteError, InputError
from kregistry.store import Store


@click.command(name="bundle")
@manifest_options
@lock_option
@store_option
@click.option("--tar", type=click.Path(path_type=Path), help="Write one file: FILE.tar.gz.")
@click.option("--wheel", type=click.Path(path_type=Path), help="Write a wheel: NAME-VERSION-py3-none-any.whl.")
@click.option("--oci", type=click.Path(path_type=Path), help="Write an OCI image in a new directory.")
@click.option("--tag", default="kernels", show_default=True, help="With --oci: the image's name in its directory.")
@sign_option
@verbosity_options
def command(
    selection: Selection,
    lock: Path | None,
    store: Store,
    tar: Path | None,
    wheel: Path | None,
    oci: Path | None,
    tag: str,
    keys: tuple[Path, ...],
    verbosity: Verbosity,
) -> None:
    """Write the kernels of the manifest FILE (default: kernels.yaml) into one file, a wheel, or an OCI image.

    All are the same to the byte wherever they are made from the same kernels. With --sign, each kernel carries a
    signature, and a file FILE.tar.gz.dsse.json signs the bundle as a whole. Set SOURCE_DATE_EPOCH for the same bytes.
    """
    from kregistry.remote.bundle import MAX_TOTAL, compressed, signature_of, tar_of
    from kregistry.remote.chain import object_name, pack_signed
    from kregistry.remote.gate import BUNDLE_SUBJECT, TrustSettings
    from kregistry.remote.location import SUFFIXES
    from kregistry.remote.oci_image import ROOT, write_image
    from kregistry.remote.wheel_file import wheel_name, wheel_of
    from kregistry.store import atomic
    from kregistry.trust.seal import sha256_of

    if tar is None and oci is None and wheel is None:
        text = "bundle: expected --tar FILE, --oci DIR or --wheel FILE"
        raise InputError(text, f"{next_command('bundle')} --tar kernels.tar.gz")
    distribution = wheel_name(wheel) if wheel is not None else ("", "")
    if tar is not None and not tar.name.endswith(SUFFIXES):
        raise InputError(f"bundle --tar {tar}: the name must end in {' or '.join(SUFFIXES)}")
    if oci is not None and oci.exists() and (not oci.is_dir() or any(oci.iterdir())):
        raise InputError(f"bundle --oci {oci}: it is there already", "name a new directory")
    signer = TrustSettings.read(keys=keys).signer
    plan = wanted(selection, lock, verbosity, store)
    kernels = plan.keys
    objects = {name: pack_signed(store, key, signer, plan.provenance) for name, key in kernels.items()}
    missing = tuple(name for name, content in objects.items() if content is None)
    if missing:
        text = f"{len(missing)} of {len(kernels)} kernels are not in {store.directory}"
        raise IncompleteError(text, missing, f"{next_command('build')} compiles them first")
    named = {object_name(kernels[name]): content for name, content in objects.items() if content is not None}
    if tar is not None:
        made = tar_of(named.items())
        if len(made) > MAX_TOTAL:
            text = (
                f"bundle --tar {tar}: {len(made)} bytes of kernels, where {MAX_TOTAL} are the most that is read again"
            )
            raise InputError(text, f"{next_command('push', 'DIRECTORY?unsigned')} writes any number of kernels")
        content = compressed(made)
        if signer is None:
            signature_of(tar).unlink(missing_ok=True)  # of another bundle
        else:
            subjects = {BUNDLE_SUBJECT: sha256_of(content), **{name: sha256_of(each) for name, each in named.items()}}
            atomic.write_output(signature_of(tar), signer.envelope(plan.name, subjects, plan.provenance))
        atomic.write_output(tar, content)
        echo(f"{tar}: {len(kernels)} kernels, {len(content)} bytes")
    if wheel is not None:
        content = wheel_of(*distribution, named.items(), plan.name)
        atomic.write_output(wheel, content)
        echo(f"{wheel}: {len(kernels)} kernels, {len(content)} bytes")
    if oci is not None:
        labels = {"org.opencontainers.image.title": "DeepGEMM kernels", "kregistry.kernels": str(len(kernels))}
        layer = tar_of((f"{ROOT}/{name}", content) for name, content in named.items())
        echo(f"{oci}: {len(kernels)} kernels, {write_image(oci, layer, labels, tag)}")
