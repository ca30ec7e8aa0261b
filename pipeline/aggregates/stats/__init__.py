"""Sums and counts over features and edges by group of prompts, and which features are tied to a group."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "group_enrichment": ["adjusted", "enrichment"],
        "labels": ["Labels", "read_labels"],
        "merging": ["as_table", "merge_edges", "merge_features"],
        "partials": ["Partial", "SUMS", "connect", "cut", "partial", "summed"],
        "path_length": ["path_lengths"],
    },
)
