"""Graphs for other tools: attribution-graph and feature JSON for viewers, GraphML and NetworkX."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "feature_page": ["FeaturePage", "feature_page"],
        "graph_json": ["graph_document"],
        "logits": ["promoted_tokens"],
        "networks": ["to_networkx"],
        "size": ["MEGABYTE"],
        "write": ["Exported", "FeatureDetail", "export"],
    },
)
