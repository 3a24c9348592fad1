#!/bin/bash
# A Ray cluster on the loopback interface of a network namespace of its own: a head, which computes nothing, and two nodes,
# which build a lock file. The node that begins to compile first is killed in the middle, with its worker.
#   unshare -n --pid --fork --kill-child --mount-proc ray_build.sh DIRECTORY LOCK BIN
set -eu
directory=$1 lock=$2 bin=$3
ip link set lo up
mkdir -p "$directory/log" "$directory/home"
export HOME=$directory/home RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0 RAY_raylet_start_wait_time_s=120
RAY_TMPDIR=$(mktemp -d /tmp/ray-XXXXXX) # the paths of its sockets must be short
export RAY_TMPDIR
export RAY_health_check_period_ms=500 RAY_health_check_failure_threshold=3
trap 'rm -rf "$RAY_TMPDIR"' EXIT
common=(--node-ip-address=127.0.0.1 --object-store-memory=80000000 --block)
"$bin/ray" start --head --port=6399 --num-cpus=0 --include-dashboard=false --ray-client-server-port=10001 \
  --temp-dir="$RAY_TMPDIR" "${common[@]}" >"$directory/log/head" 2>&1 &
head=$!
until (echo >/dev/tcp/127.0.0.1/10001) 2>/dev/null; do
  kill -0 $head # it has ended
  sleep 0.2
done
for number in 1 2; do
  KREGISTRY_STORE=$directory/store-$number "$bin/ray" start --address=127.0.0.1:6399 --num-cpus=1 "${common[@]}" \
    >"$directory/log/node-$number" 2>&1 &
  node=$!
  until grep -q 'Ray runtime started' "$directory/log/node-$number"; do # one by one: they are slow
    kill -0 $node
    sleep 0.2
  done
done
"$bin/kregistry" build --lock "$lock" --on ray://127.0.0.1:10001 --store "$directory/store" \
  --remote "$directory/remote?unsigned" --json >"$directory/report.json" 2>"$directory/log/build" &
build=$!
until ls "$directory"/store-[12]/claims/* >"$directory/claimed" 2>/dev/null; do
  kill -0 $build 2>/dev/null || break
  sleep 0.05
done
victim=$(sed -n '1s,.*/store-\([12]\)/.*,\1,p' "$directory/claimed")
for process in /proc/[0-9]*; do # the processes of a node are known by the variable that they inherit
  if tr '\0' '\n' <"$process/environ" 2>/dev/null | grep -qx "KREGISTRY_STORE=$directory/store-$victim"; then
    kill -9 "${process#/proc/}" 2>/dev/null || true
  fi
done
echo "killed node $victim"
wait $build
