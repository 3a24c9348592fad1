#!/bin/sh
# Stands in for nvcc (DG_JIT_NVCC_COMPILER) while a JIT monitor is on. Questions for the version, and everything once the
# monitor's directory is gone, go straight to the real compiler.
if [ "$1" = --version ] || [ ! -d "$KREGISTRY_MONITOR" ]; then exec "$KREGISTRY_MONITORED_NVCC" "$@"; fi
exec "$KREGISTRY_MONITOR_PYTHON" -IS "${0%/*}/substitute_compiler.py" "$@"
