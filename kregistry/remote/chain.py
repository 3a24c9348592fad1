"""A chain of tiers below the local store: read from the first that has a kernel, written back to those before it.

Only the local store can fail a build. A tier that is slow, unreachable or wrong is a miss, counted and warned of once.
What only a chain with tiers needs is imported when there is one: most builds have none, and start sooner.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from kregistry.errors import Rejection, StorageError, TrustError
from kregistry.remote.chain_link import ChainLink, subject_of
from kregistry.remote.gate import ClosedGate, Gate, TrustSettings
from kregistry.remote.location import KREGISTRY_REMOTE, Location
from kregistry.remote.tier import Tier, TierError
from kregistry.store import packed
from kregistry.store.packed import PackedKernel
from kregistry.store.store import DamagedEntry, Store
from kregistry.trust.outcome import NotTrusted, TrustOutcome
from kregistry.trust.statement import Provenance

if TYPE_CHECKING:
    from kregistry.trust.seal import Signer

_log = logging.getLogger("kregistry.remote")
#: The hint where nobody has said whose kernels are taken.
NO_POLICY = "name a policy with --trust (or KREGISTRY_TRUST), or append ?unsigned to the URL: kregistry docs sharing"


def object_name(key: str) -> str:
    """The name of a kernel's object in every tier."""
    return f"v1/kernels/{key[:2]}/{key}"


def _tier(location: Location, gate: Gate) -> Tier:
    from kregistry.remote.bundle import BundleTier
    from kregistry.remote.installed import InstalledTier
    from kregistry.remote.object_tier import ObjectTier

    wheel, bundle = location.wheel(), location.bundle()
    if wheel is not None:
        return InstalledTier(wheel)
    return BundleTier(bundle, gate) if bundle else ObjectTier(location)


def for_builds(locations: Iterable[Location]) -> tuple[Location, ...]:
    """The tiers of a build: the kernels of installed wheels are nearer than all others."""
    return tuple(dict.fromkeys((*Location.of_wheels(), *locations)))


def pack_signed(store: Store, key: str, signer: Signer | None, provenance: Provenance) -> bytes | None:
    """A kernel of a store as it is written to a remote; ``None`` if the store does not have it, intact."""
    try:
        content = packed.pack(store, key)
    except DamagedEntry:
        return None
    if content is None or signer is None:
        return content
    return signer.seal_kernel(key, content, packed.unpack(key, content).cubin, provenance)


class Chain:
    """Tiers in order, the nearest first. Safe against threads.

    Args:
        tiers: the tiers.
        gates: what is taken from each tier; default: whatever is intact.
        signer: signs what is written; default: nothing is signed.
        required: a tier that fails raises an error (for CI jobs that fill it).
        hint: of that error.

    Attributes:
        use: how each tier was used, in the same order.
        rejections: what was not taken because of its signature.
        provenance: what the kernels of this process are made from, for their signatures.
    """

    def __init__(
        self,
        tiers: Sequence[Tier],
        gates: Sequence[Gate] = (),
        *,
        signer: Signer | None = None,
        required: bool = False,
        hint: str = "",
    ) -> None:
        self.rejections: list[Rejection] = []
        self._links = tuple(
            ChainLink(tier, gate, required=required, hint=hint, rejections=self.rejections)
            for tier, gate in zip(tiers, gates or [Gate() for _ in tiers])
        )
        self._signer = signer
        self._required = required
        self.use = tuple(each.use for each in self._links)
        self.provenance = Provenance()

    @classmethod
    def open(
        cls,
        locations: Iterable[Location],
        trust: TrustSettings | None = None,
        *,
        required: bool = False,
        hint: str = "",
        reads: bool = True,
    ) -> Chain:
        """
        Args:
            locations: of the tiers.
            trust: whose kernels are taken, and who signs; default: nothing was said.
            required, hint: see :class:`Chain`.
            reads: whether kernels will be read, and not only written or asked for.

        Raises:
            MissingRequirement: obstore, or cryptography for a policy, is not installed.
            StorageError: a location cannot be used, and ``required``.
            TrustError: nothing is taken from a location, and ``required``.
        """
        trust = trust or TrustSettings()
        tiers: list[Tier] = []
        gates: list[Gate] = []
        for location in locations:
            location = trust.writable(location)
            gate = trust.gate(location) if reads else Gate()
            try:
                tier = _tier(location, gate)
                if isinstance(gate, ClosedGate):
                    raise NotTrusted(TrustOutcome.NO_POLICY)
            except TierError as error:
                if required:
                    raise StorageError(f"remote {location.url}", str(error), hint) from error
                _log.warning("remote %s is not used: %s", location.url, error)
                continue
            except NotTrusted as refused:
                rejection = refused.of(location.url, location.url)
                if required:
                    raise TrustError((rejection,), NO_POLICY if gate.closed else "") from refused
                _log.warning("remote %s is read-only, and nothing is taken from it: %s", location.url, rejection.reason)
                if gate.closed:
                    _log.warning("%s", NO_POLICY)
                continue
            if reads and location.unsigned and trust.policy is not None:
                _log.warning("remote %s: ?unsigned: the policy %s is not applied", location.url, trust.policy.file)
            tiers.append(tier)
            gates.append(gate)
        return cls(tiers, gates, signer=trust.signer, required=required, hint=hint)

    @classmethod
    def from_environment(cls, store: Path | None = None, environment: Mapping[str, str] = os.environ) -> Chain:
        """The tiers of installed wheels, and then those that ``KREGISTRY_REMOTE`` names.

        Args:
            store: the directory that remembers which statements were accepted.
            environment: of the process; ``KREGISTRY_TRUST`` and ``KREGISTRY_SIGN`` are read too.

        Raises:
            InputError: a variable, or a file that one names, is wrong.
            MissingRequirement, StorageError: see :meth:`open`.
        """
        locations = for_builds(Location.parse_all(environment.get(KREGISTRY_REMOTE, "")))
        if not locations:
            return cls(())
        return cls.open(locations, TrustSettings.read(store=store, environment=environment))

    def __bool__(self) -> bool:
        return bool(self._links)

    @property
    def writable(self) -> bool:
        return any(not each.read_only for each in self._links)

    def fetch(self, key: str, store: Store) -> bool:
        """Put a kernel into the local store, if a tier has it. Nearer tiers that do not have it get it too.

        Returns:
            whether a tier had it.

        Raises:
            StorageError: the local store cannot be written; or a tier failed, and the chain is required.
            TrustError: a kernel was refused, and the chain is required.
        """
        kernel = self.receive(key)
        if kernel is None:
            rejections = self.rejections_of([key]) if self._required else ()
            if rejections:
                raise TrustError(rejections)
            return False
        self.add(kernel, store)
        return True

    def add(self, kernel: PackedKernel, store: Store) -> None:
        """Put a received kernel into the local store.

        Raises:
            StorageError: it cannot be written.
        """
        packed.add(store, kernel)
        self.remember()

    def remember(self) -> None:
        """From now on, refuse what was signed before what has been taken."""
        for link in self._links:
            link.gate.remember()

    def rejections_of(self, keys: Iterable[str]) -> tuple[Rejection, ...]:
        """What was refused of these kernels."""
        subjects = set(map(subject_of, keys))
        return tuple(each for each in self.rejections if each.subject in subjects)

    def receive(self, key: str, *, back_fill: bool = True) -> PackedKernel | None:
        """The kernel, from the first tier that has it and that it is taken from. The local store is not written.

        Args:
            key: of the kernel.
            back_fill: write it to the nearer tiers that do not have it.

        Raises:
            StorageError: a tier failed, and the chain is required.
        """
        name = object_name(key)
        for number, link in enumerate(self._links):
            content = link.get(name)
            kernel = link.kernel(key, content)
            if kernel is not None and content is not None:
                nearer = self._links[:number] if back_fill else ()
                _write(name, content, [each for each in nearer if each.wants(key, content)])
                return kernel
        return None

    def push(self, key: str, store: Store, source: str = "") -> bool:
        """Write a kernel of the local store to every writable tier.

        Args:
            key: of the kernel.
            store: the local store.
            source: the CUDA source, for its signature; empty: the one of :attr:`provenance`.

        Returns:
            whether every writable tier took it.

        Raises:
            StorageError: a tier failed, and the chain is required.
        """
        from kregistry.trust.seal import sha256_of

        made_from = evolve(self.provenance, sources={key: sha256_of(source.encode())}) if source else self.provenance
        content = pack_signed(store, key, self._signer, made_from)
        return content is not None and _write(object_name(key), content, self._links)

    def read(self, name: str) -> bytes | None:
        """The content of another object than a kernel, from the first tier that has it and that it is taken from.

        Raises:
            StorageError, TrustError: a tier failed, or the object was refused, and the chain is required.
        """
        for link in self._links:
            found = link.other(name, link.get(name))
            if found is not None:
                return found
        return None

    def write(self, name: str, content: bytes) -> bool:
        """Write another object than a kernel to every writable tier, signed if kernels are.

        Returns:
            whether every writable tier took it.
        """
        made = content if self._signer is None else self._signer.seal(name, content, self.provenance)
        return _write(name, made, self._links)

    def has(self, key: str) -> bool:
        """Whether a tier says that it has a kernel. Its content is not read."""
        name = object_name(key)
        return any(link.has(name) for link in self._links)

    def summaries(self) -> tuple[str, ...]:
        """A line for each tier."""
        return tuple(each.summary() for each in self.use)


def _write(name: str, content: bytes, links: Iterable[ChainLink]) -> bool:
    """Write an object to those that are writable; whether each of them took it."""
    taken = [link.put(name, content) for link in links if not link.read_only]  # also after one that failed
    return all(taken)
