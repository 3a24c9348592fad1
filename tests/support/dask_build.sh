#!/bin/bash
# A Dask cluster of two worker processes on the loopback interface of a network namespace of its own, which builds a lock
# file. The worker that begins to compile first is killed in the middle.
#   unshare -n --pid --fork --kill-child --mount-proc dask_build.sh DIRECTORY LOCK BIN
set -eu
directory=$1 lock=$2 bin=$3
ip link set lo up
mkdir -p "$directory/log"
address=127.0.0.1:8786
"$bin/dask" scheduler --host 127.0.0.1 --port 8786 --dashboard-address 127.0.0.1:0 >"$directory/log/scheduler" 2>&1 &
for number in 1 2; do
  KREGISTRY_STORE=$directory/store-$number "$bin/dask" worker "tcp://$address" --host 127.0.0.1 --nthreads 1 \
    --no-nanny --no-dashboard --local-directory "$directory/work-$number" >"$directory/log/worker-$number" 2>&1 &
  echo $! >"$directory/worker-$number.pid"
done
"$bin/kregistry" build --lock "$lock" --on "dask://$address" --store "$directory/store" \
  --remote "$directory/remote?unsigned" --json >"$directory/report.json" 2>"$directory/log/build" &
build=$!
until ls "$directory"/store-[12]/claims/* >"$directory/claimed" 2>/dev/null; do
  kill -0 $build 2>/dev/null || break
  sleep 0.05
done
victim=$(sed -n '1s,.*/store-\([12]\)/.*,\1,p' "$directory/claimed")
ls "$directory/store-$victim"/kernels/* >"$directory/made-by-victim" 2>/dev/null || true
kill -9 "$(cat "$directory/worker-$victim.pid")"
echo "killed worker $victim"
wait $build
