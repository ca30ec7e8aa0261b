"""Version of the code that computes graphs, apart from that of the package."""

ENGINE_VERSION = "2"
"""Raised whenever the same prompt, model and rules give other rows than before. Part of every run's key: an
output that an older engine wrote is then refused rather than mixed.

The versions of torch and transformers are recorded beside each graph and not in the key: theirs change every
few weeks, results then change in the last bits if at all, and a sweep that spans an update would be lost."""
