"""Runs at the start of every Python process below ``kregistry record``, which puts this directory on PYTHONPATH.

Of kregistry only the import hook is loaded until the process imports DeepGEMM, and by its path: a process of another
environment need not have kregistry, and may never import DeepGEMM. Another ``sitecustomize`` on the path still runs.
Whatever fails here is reported on standard error, and the process goes on.
"""

import importlib.machinery
import importlib.util
import os
import sys

_MODULES = ("deep_gemm", "vllm.third_party.deep_gemm")
_HERE = os.path.dirname(os.path.abspath(__file__))
_IMPORT_HOOK = os.path.join(os.path.dirname(os.path.dirname(_HERE)), "import_hook.py")


def _wait_for_deep_gemm():
    try:
        spec = importlib.util.spec_from_file_location("kregistry_import_hook", _IMPORT_HOOK)
        hook = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(hook)
    except Exception as error:
        _report(error)
        return
    for name in _MODULES:
        hook.after_import(name, _observe)


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
    rest = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if os.environ.get("KREGISTRY_RECORD"):
    _wait_for_deep_gemm()
_run_next()
