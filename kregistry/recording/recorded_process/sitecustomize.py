"""Runs at the start of every Python process below ``kregistry record``, which puts this directory on PYTHONPATH.

Nothing is imported from kregistry until the process imports DeepGEMM. Another ``sitecustomize`` on the path still runs.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys

_MODULES = ("deep_gemm", "vllm.third_party.deep_gemm")


class _Finder(importlib.abc.MetaPathFinder):
    """Lets DeepGEMM be found as usual, and wraps its functions once it is loaded."""

    def __init__(self):
        self._busy = False

    def find_spec(self, name, path=None, target=None):
        if name not in _MODULES or self._busy:
            return None
        self._busy = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._busy = False
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                _observe(module)

            spec.loader.exec_module = exec_module
        return spec


def _observe(module):
    try:
        from kregistry.recording.interception import observe

        observe(module, os.environ["KREGISTRY_RECORD"])
    except Exception as error:
        print(f"kregistry record: the calls of process {os.getpid()} are not recorded: {error}", file=sys.stderr)


def _run_next():
    """The sitecustomize that this one hides."""
    here = os.path.dirname(os.path.abspath(__file__))
    rest = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if os.environ.get("KREGISTRY_RECORD"):
    sys.meta_path.insert(0, _Finder())
_run_next()
