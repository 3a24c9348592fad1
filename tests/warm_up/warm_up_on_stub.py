"""Warm up a process that runs on the stub GPU, with a compiler that refuses; prints the report.

python warm_up_on_stub.py MANIFEST STORE CACHE
"""

from __future__ import annotations

import json
import sys

import kregistry

if __name__ == "__main__":
    manifest, store, cache = sys.argv[1:]
    report = kregistry.warmup(manifest, target="h100", store=store, cache_dir=cache)
    report.raise_problems()
    print(json.dumps({"built": report.build is not None, **report.to_json()}))
