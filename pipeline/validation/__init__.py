"""Tests of every circuit of a sweep by interventions in the model itself, stored beside the graphs."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["ValidationConfig"],
        "output": ["ValidationOutput"],
        "report": [
            "COMPETITORS",
            "Disagreement",
            "GroupReport",
            "HIGH",
            "LEVEL",
            "Measured",
            "Median",
            "as_rows",
            "disagreements",
            "group_reports",
            "necessity_q_values",
            "read_faithfulness",
            "sentences",
        ],
        "faithfulness.sampling": ["MatchedSampler"],
        "validate": ["validate_sweep"],
    },
)
