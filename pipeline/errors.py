"""Errors that a user can fix.

Everything that goes wrong because of an input (a file, a key, a prompt, a model that does not fit)
is one of these. The message names the value, the rule and the way out; commands print it without a
traceback. Anything else that is raised is a bug in Circuit Sweep.
"""


class CircuitSweepError(Exception):
    """Base of all errors whose message is meant for the user."""


class ConfigurationError(CircuitSweepError):
    """A sweep file or an option that cannot be used: a misspelt key, a wrong type, a bad value."""


class ModelError(CircuitSweepError):
    """A model that cannot be loaded or whose architecture is not supported."""


class TranscoderError(CircuitSweepError):
    """Transcoders that cannot be read or that do not fit the model."""


class PromptError(CircuitSweepError):
    """A prompt that cannot be traced: empty, too long, token ids outside the vocabulary."""


class TargetError(CircuitSweepError):
    """Attribution targets that do not exist in this model or are malformed."""


class StoreError(CircuitSweepError):
    """An output that cannot be written or read, or that belongs to another sweep."""


class DamageError(StoreError):
    """A file of an output that is not what was written there: cut short, overwritten, of something else."""


class InterventionError(CircuitSweepError):
    """An intervention on a layer, position or feature that does not exist, or that could have no effect."""


class QueryError(CircuitSweepError):
    """A question that the tables cannot answer: SQL that DuckDB refuses, a format that does not fit."""


class TrainingError(CircuitSweepError):
    """A training that cannot go on: a loss that is not a number, a state of another training."""
