"""Plans: which kernels DeepGEMM will JIT, found by running its host code on a stub GPU.

The values of a plan are imported here; the planner is not, since a server's warm start plans nothing.
"""

from kregistry.events.planned import PlannedEntry, Refusal, Segment
from kregistry.plan.plan import Plan

__all__ = ["Plan", "PlannedEntry", "Refusal", "Segment"]
