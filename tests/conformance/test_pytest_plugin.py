"""The pytest plugin costs the tests of others nothing."""

from __future__ import annotations

import subprocess
import sys


def test_it_imports_pytest_and_the_standard_library_only() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import kregistry._pytest_plugin; "
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names); "
        "print(sorted(tops), sorted(name for name in sys.modules if name.startswith('kregistry.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['kregistry'] ['kregistry._pytest_plugin']"
