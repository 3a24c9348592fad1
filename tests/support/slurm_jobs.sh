#!/bin/bash
# The cluster of slurm_build.sh, which builds a lock file by `kregistry build --on slurm://`. The node that begins to
# compile first is taken down in the middle, and its job runs again.
#   unshare -n --pid --fork --kill-child --mount-proc slurm_jobs.sh DIRECTORY LOCK BIN
set -eu
directory=$1 lock=$2 bin=$3
. "$(dirname "$0")/slurm_cluster.sh"
"$bin/kregistry" build --lock "$lock" --on "slurm://p$directory/jobs" --store "$directory/store" \
  --remote "$directory/remote?unsigned" --json >"$directory/report.json" 2>"$directory/log/build" &
build=$!
until ls "$directory"/worker/claims/* >"$directory/claimed" 2>/dev/null; do
  kill -0 $build 2>/dev/null || break
  sleep 0.05
done
node=$(squeue -h -t R -o %N | head -n 1)
scontrol update nodename="$node" state=down reason=test
kill "$(cat "$directory/run/slurmd-$node.pid")"
slurmd -N "$node"
echo "took down $node"
wait $build
