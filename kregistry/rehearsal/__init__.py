"""Rehearsal: the installed engine itself, run on the stub GPU, says which DeepGEMM calls a model makes."""
