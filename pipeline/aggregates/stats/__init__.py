"""Statistics of features and edges over groups of prompts, and what is tied to a group beyond chance."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "clusters": ["ALONE", "Clusters", "read_clusters"],
        "group_enrichment": ["enrichment"],
        "group_statistics": ["GroupStatistics"],
        "sums": ["Sums", "connect", "cut", "summed"],
    },
)
