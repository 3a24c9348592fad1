"""The console script, and ``python -m kregistry``."""

import gc
import os
import sys

from kregistry.python_child import child_environment, clean_path, relative_entries

#: A command makes few cycles. Python's 700 would look for them at every third import, a fifteenth of the start; 50,000
#: would look through everything once before the first compiler starts, a twentieth of the time until then.
_COLLECT_AFTER = 200_000


def main() -> None:
    """Run the command line.

    A relative or empty entry of PYTHONPATH puts the current directory in front of the standard library, and a file
    ``json.py`` there would run in place of Python's own. This process starts again without such entries. Nor is a
    program such as ``nvcc`` looked for there.
    """
    if relative_entries():
        environment = {**child_environment(), **({"PATH": os.environ["PATH"]} if "PATH" in os.environ else {})}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    clean_path()
    gc.set_threshold(_COLLECT_AFTER)
    from kregistry.cli import main as run
    from kregistry.cli.output import reserve_standard_output

    reserve_standard_output()
    run()


if __name__ == "__main__":
    main()
