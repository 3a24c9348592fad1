"""Writes kregistry/compile/shared/front_ends.json: families whose shared front end makes what nvcc makes alone.

python tools/shipped_checks.py STORE ...    add what builds with these stores have compared and found identical
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from kregistry.store import signed_json

FILE = Path(__file__).parent.parent / "kregistry" / "compile" / "shared" / "front_ends.json"


def main() -> None:
    if not sys.argv[1:]:
        sys.exit(__doc__)
    known = json.loads(FILE.read_text())
    for store in map(Path, sys.argv[1:]):
        for path in sorted((store / "front_ends").glob("*.json")):
            record = signed_json.decode(path.read_bytes())
            if record["difference"] == "":
                known[record["key"]] = {"family": record["family"], "kernel": record["kernel"]}
            else:
                print(f"{record['family']}: {record['difference']}")
    FILE.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    print(f"{FILE}: {len(known)} families")


if __name__ == "__main__":
    main()
