"""Dispatch: what ``registry[name](...)`` does, watched before sealing, DeepGEMM's own function after it."""

from kregistry.dispatch.calls import Dispatch
from kregistry.dispatch.policy import Unseen
from kregistry.dispatch.recording import Recording

__all__ = ["Dispatch", "Recording", "Unseen"]
