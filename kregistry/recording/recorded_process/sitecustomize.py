"""Runs at the start of every Python process below ``kregistry record``, which puts this directory on PYTHONPATH.

Of kregistry only the import hook is imported until the process imports DeepGEMM. Another ``sitecustomize`` on the path
still runs. Whatever fails here is reported on standard error, and the process goes on.
"""

import importlib.machinery
import importlib.util
import os
import sys

_MODULES = ("deep_gemm", "vllm.third_party.deep_gemm")


def _wait_for_deep_gemm():
    try:
        from kregistry.import_hook import after_import
    except Exception as error:
        _report(error)
        return
    for name in _MODULES:
        after_import(name, _observe)


def _observe(module):
    try:
        from kregistry.recording.interception import observe

        observe(module, os.environ["KREGISTRY_RECORD"])
    except Exception as error:
        _report(error)


def _report(error):
    text = f"kregistry record: the calls of process {os.getpid()} are not recorded: {type(error).__name__}: {error}"
    print(text, file=sys.stderr)


def _run_next():
    """Run the sitecustomize that this one hides."""
    here = os.path.dirname(os.path.abspath(__file__))
    rest = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if os.environ.get("KREGISTRY_RECORD"):
    _wait_for_deep_gemm()
_run_next()
