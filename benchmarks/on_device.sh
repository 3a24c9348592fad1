#!/bin/sh
# Install kregistry from wheels in $1 into a directory of its own, then run benchmarks/hardware.py with the other arguments.
set -e
wheels=$1
shift
site=${KREGISTRY_SITE:-$HOME/kregistry-site}
[ -d "$site/kregistry" ] || python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" "$wheels"/*.whl
export PYTHONPATH="$site" PYTHONUNBUFFERED=1
# Bytecode is kept, as an installed package has it: without, each process compiles torch's modules for three seconds.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX="${TMPDIR:-/tmp}/kregistry-bytecode"
exec python3 -W ignore "$@"
