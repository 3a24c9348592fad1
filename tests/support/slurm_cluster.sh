# To be sourced: a Slurm cluster of two nodes on the loopback interface of a network namespace of its own, in $directory.
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
