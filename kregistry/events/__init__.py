"""Events: the records that hooks pass to listeners, as plain values without code of the sender."""

from kregistry.events.compiled import BrokenKernel, BrokenRange, CompiledKernel, FailedKernel
from kregistry.events.jit import JitEvent, JitOutcome
from kregistry.events.planned import PlannedEntry, Refusal, Segment
from kregistry.events.tasks import STAGES, Task
from kregistry.events.warmed import Warmed, WarmedKernel, WarmupOutcome

__all__ = [
    "STAGES",
    "BrokenKernel",
    "BrokenRange",
    "CompiledKernel",
    "FailedKernel",
    "JitEvent",
    "JitOutcome",
    "PlannedEntry",
    "Refusal",
    "Segment",
    "Task",
    "Warmed",
    "WarmedKernel",
    "WarmupOutcome",
]
