"""Interventions on the test half: is a circuit necessary, sufficient, minimal, specific, and to what dose."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "sets": ["PromptCircuit"],
        "testing": ["TestRun", "run_tests"],
        "verdicts": ["verdict_rows"],
        "work": ["CircuitWork"],
    },
)
