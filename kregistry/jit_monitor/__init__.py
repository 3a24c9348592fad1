"""The JIT monitor: it reports every kernel that DeepGEMM compiles in this process and its children, or refuses it."""

from kregistry.events.jit import JitEvent, JitOutcome
from kregistry.jit_monitor.mode import Mode
from kregistry.jit_monitor.monitor import JitMonitor

__all__ = ["JitEvent", "JitMonitor", "JitOutcome", "Mode"]
