#!/bin/bash
# A Slurm cluster of two nodes on the loopback interface of a network namespace of its own, and one array job that builds
# a lock file. One node is taken down while its task sleeps, and the task runs again.
#   unshare -n --pid --fork --kill-child --mount-proc slurm_build.sh DIRECTORY LOCK KREGISTRY
set -eu
directory=$1 lock=$2 kregistry=$3
ip link set lo up
ip addr add 127.0.0.2/8 dev lo # with 127.0.0.1 alone, Slurm cannot resolve any name
host=$(hostname -s)
mkdir -p "$directory"/{state,spool,log,run}
export SLURM_CONF=$directory/slurm.conf
cat >"$SLURM_CONF" <<CONF
ClusterName=kregistry
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MailProg=/bin/true
StateSaveLocation=$directory/state
SlurmdSpoolDir=$directory/spool/%n
SlurmctldPidFile=$directory/run/slurmctld.pid
SlurmdPidFile=$directory/run/slurmd-%n.pid
SlurmctldLogFile=$directory/log/slurmctld.log
SlurmdLogFile=$directory/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_min_interval=20000,batch_sched_delay=0,sched_interval=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$directory/log/jobs.txt
ReturnToService=2
MpiDefault=none
MinJobAge=300
KillWait=2
SlurmdTimeout=10
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=16819 CPUs=1 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=16820 CPUs=1 State=UNKNOWN
PartitionName=p Nodes=ALL Default=YES MaxTime=10 State=UP
CONF
slurmctld -c
slurmd -N n1
slurmd -N n2
until [ "$(sinfo -h -N -o %T 2>/dev/null | grep -c idle)" = 2 ]; do sleep 0.1; done

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
