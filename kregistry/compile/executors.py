"""The executor that ``--on URL`` names: a plugin gives it, and the workers of somebody's cluster stand behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from kregistry.entry_points import load_group
from kregistry.errors import InputError, KregistryError, MissingRequirement, PluginError, describe_error, shorten
from kregistry.event_bus import EventBus

#: Entry points of plugins with this hook.
EXECUTORS = "kregistry.executors"
_HOOK = "kregistry_executor"
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://\S*", re.ASCII)
#: The schemes of the plugins that come with kregistry, each with its extra.
_EXTRAS = {"dask": "dask", "dask+tls": "dask", "ray": "ray", "slurm": "slurm"}
_HINT = "dask://HOST:8786, ray://HOST:10001 or slurm://PARTITION; a plugin can offer more (kregistry docs hooks)"


@contextmanager
def open_executor(url: str, events: EventBus) -> Iterator[Executor]:
    """The executor of a cluster, until the end of the block. Leaving the block by an error cancels what has not begun.

    Args:
        url: of the cluster, e.g. ``dask://head:8786``.
        events: the bus at which the plugins are.

    Raises:
        InputError: it is no URL, or no plugin offers an executor for it.
        MissingRequirement: the plugin's library is not installed, or the cluster does not answer.
        PluginError: a plugin gave something else than an executor.
    """
    executor = _ask_plugins(url, events)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


def _ask_plugins(url: str, events: EventBus) -> Executor:
    matched = _URL.fullmatch(url)
    if matched is None:
        raise InputError(f"--on {shorten(url, 80)}: expected the URL of a cluster", _HINT)
    shown, errors = _plain(url), list[KregistryError]()
    for provider, offer in (*events.offers(_HOOK), *_installed(errors).offers(_HOOK)):
        try:
            executor = offer(url=url)
        except KeyboardInterrupt:
            raise
        except KregistryError as error:
            errors.append(error)
            continue
        except ImportError as error:
            errors.append(MissingRequirement(f"--on {shown}: {error}", _installing(matched["scheme"])))
            continue
        except BaseException as error:  # sys.exit() of a cluster's library included
            text = f"--on {shown}: the cluster cannot be used: {shorten(describe_error(error), 400)}"
            errors.append(MissingRequirement(text, "check the address, and that the cluster has workers"))
            continue
        if isinstance(executor, Executor):
            return executor
        if executor is not None:
            hint = "expected a concurrent.futures.Executor, or None for a URL of another kind"
            errors.append(provider.error(f"kregistry_executor() gave a {type(executor).__name__}", hint))
    if errors:
        raise errors[0]
    raise InputError(f"--on {shown}: no plugin offers an executor for {matched['scheme']}://", _HINT)


def _installed(errors: list[KregistryError]) -> EventBus:
    """The installed plugins of clusters. They have a group of their own, so that no other command imports them."""
    bus = EventBus()
    for provider, plugin in load_group(EXECUTORS):
        try:
            if isinstance(plugin, PluginError):
                raise plugin
            bus.listen(plugin, provider)
        except PluginError as error:
            errors.append(error)
    return bus


def _installing(scheme: str) -> str:
    extra = _EXTRAS.get(scheme)
    return f"in a clone of kregistry: pip install '.[{extra}]'" if extra else "install what the plugin needs"


def _plain(url: str) -> str:
    """The URL without user name and password."""
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
