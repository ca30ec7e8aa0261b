"""One prompt to one graph: targets, rows, and which features get a row."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "edge_paths": ["head_loadings"],
        "matmul_precision": ["check_precision", "tf32_matmuls"],
        "options": ["AttributionOptions", "Precision"],
        "prompt_to_graph": ["attribute"],
        "qk": ["explain_scores", "qk_attribution", "strongest_looks"],
        "row_blocks": ["FEWEST_ROWS", "POSITION_GROUPS", "SMALLEST_GROUP", "preferred_block_pairs"],
        "shared_rows": ["SharedRows", "attribute_positions"],
        "targets": ["Difference", "Direction", "FeatureTarget", "TargetSpec"],
    },
)
