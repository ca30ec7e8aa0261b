"""Prompts, from a file or the hub to shards of token ids with their targets."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "counts": ["PromptCounts", "count_prompts"],
        "items": ["PromptItems", "ReadTargets", "TokenizedPrompt", "Tokenize"],
        "reader": ["Prompt", "Prompts", "builder_of", "open_prompts"],
        "targets": [
            "ChosenTargets",
            "as_specification",
            "chosen_for_all",
            "read_own_ids",
            "read_own_targets",
            "read_targets",
        ],
    },
)
