"""The console script, and ``python -m kregistry``."""

import os
import sys

from kregistry.python_child import child_environment, relative_entries


def main() -> None:
    """Run the command line.

    A relative or empty entry of PYTHONPATH puts the current directory in front of the standard library, and a file
    ``json.py`` there would run in place of Python's own. This process starts again without such entries.
    """
    if relative_entries():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], child_environment())
    from kregistry.cli import main as run
    from kregistry.cli.output import reserve_standard_output

    reserve_standard_output()
    run()


if __name__ == "__main__":
    main()
