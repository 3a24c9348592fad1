"""Plans: which kernels DeepGEMM will JIT, found by running its host code on a stub GPU."""

from kregistry.events.planned import PlannedEntry, Refusal, Segment
from kregistry.plan.plan import Plan
from kregistry.plan.planner import make_plan

__all__ = ["Plan", "PlannedEntry", "Refusal", "Segment", "make_plan"]
