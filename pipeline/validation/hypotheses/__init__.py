"""Test of a user's own hypothesis: chosen features, on chosen prompts, beside what could have been chosen."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "question": ["Hypothesis", "read_hypothesis"],
        "testing": ["PromptOutcome", "run_hypothesis"],
        "verdicts": ["GroupVerdict", "Mean", "cluster_mean", "verdicts"],
        "rows": ["group_rows", "prompt_rows"],
        "sentences": ["verdict_sentences"],
    },
)
