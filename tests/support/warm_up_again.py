"""Warm up a process that runs on the stub GPU, with a compiler that refuses; prints the report.

python warm_up_again.py MANIFEST STORE CACHE [--allow-broken]
"""

from __future__ import annotations

import json
import sys

import kregistry
from kregistry.errors import CompileError

if __name__ == "__main__":
    manifest, store, cache, *flags = sys.argv[1:]
    report = kregistry.warmup(manifest, target="h100", store=store, cache_dir=cache)
    answer = {"built": report.build is not None, **report.to_json()}
    try:
        report.raise_problems(allow_broken="--allow-broken" in flags)
    except CompileError as error:
        answer.update(error=error.text, exit_code=error.exit_code)
    print(json.dumps(answer))
