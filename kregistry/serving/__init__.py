"""Serving: what ``registry[name](...)`` does, watched before sealing, DeepGEMM's own function after it."""

from kregistry.serving.dispatch import Dispatch
from kregistry.serving.policy import Unseen

__all__ = ["Dispatch", "Unseen"]
