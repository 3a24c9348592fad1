#!/bin/bash
# A Slurm cluster of two nodes on the loopback interface of a network namespace of its own, and one array job that builds
# a lock file. One node is taken down while its task sleeps, and the task runs again.
#   unshare -n --pid --fork --kill-child --mount-proc slurm_build.sh DIRECTORY LOCK KREGISTRY
set -eu
directory=$1 lock=$2 kregistry=$3
. "$(dirname "$0")/slurm_cluster.sh"

cat >"$directory/job.sh" <<JOB
#!/bin/bash
if [ "\$SLURM_ARRAY_TASK_ID" = 11 ] && [ -z "\${SLURM_RESTART_COUNT:-}" ]; then
  echo "\$SLURMD_NODENAME" >"$directory/asleep"
  sleep 300
fi
[ "\$SLURM_ARRAY_TASK_ID" = 12 ] && exit 1
exec "$kregistry" build --lock "$lock" --shard auto --store "$directory/store-\$SLURM_ARRAY_TASK_ID" \\
  --remote "$directory/remote?unsigned" -j 1
JOB
job=$(sbatch --parsable --requeue --array=10-12 -o "$directory/log/task-%a.txt" "$directory/job.sh")
until [ -s "$directory/asleep" ]; do sleep 0.2; done
node=$(cat "$directory/asleep")
scontrol update nodename="$node" state=down reason=test
kill "$(cat "$directory/run/slurmd-$node.pid")"
slurmd -N "$node"
until [ -z "$(squeue -h -j "$job" 2>/dev/null)" ]; do sleep 0.3; done
echo "the array has ended"
# The third task has failed by itself: it is run again alone, with the same division.
SLURM_ARRAY_TASK_ID=12 SLURM_ARRAY_TASK_MIN=10 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=3 \
  "$kregistry" build --lock "$lock" --shard auto --store "$directory/store-12" --remote "$directory/remote?unsigned"
