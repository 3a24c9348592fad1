"""Oracles: DeepGEMM's functions written anew in float64, from its public formulas and the layouts that it documents.

They know nothing of the plugins: each takes the arguments of a call, and writes or returns what the function would.
"""
