"""Does a sweep's every circuit hold? Interventions in the model itself, and the verdict beside the graph."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["ValidationConfig"],
        "output": ["ValidationOutput"],
        "report": [
            "Disagreement",
            "FamilyReport",
            "HIGH",
            "MEASURES",
            "Median",
            "disagreements",
            "families",
            "read_verdicts",
        ],
        "sampling": ["Pool"],
        "validate": ["validate_sweep"],
    },
)
