"""Tests by interventions in the model itself: of every circuit of a sweep, and of a user's own hypothesis."""

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
        "faithfulness.circuit": ["Circuit"],
        "faithfulness.circuit_tests": ["LEAST_LOGITS"],
        "faithfulness.effects": ["OutputMetrics"],
        "faithfulness.sampling": ["MatchedSampler", "fill"],
        "faithfulness.simple_rankings": ["write_norms"],
        "hypotheses.changes": ["Changes", "draw_matched", "priorities"],
        "hypotheses.question": ["Hypothesis", "read_hypothesis"],
        "hypotheses.rows": ["group_rows", "prompt_rows"],
        "hypotheses.sentences": ["verdict_sentences"],
        "hypotheses.testing": ["PromptOutcome", "run_changes", "run_hypothesis"],
        "hypotheses.verdicts": ["GroupVerdict", "Mean", "verdicts"],
        "pairs.config": ["PairTests"],
        "pairs.report": ["PairGroup", "PairReport", "feature_rows", "pair_report", "pair_rows"],
        "pairs.run": ["PairOutput", "patch_pairs"],
        "stored_circuits": ["StoredGraph", "StoredGraphs", "read_circuit", "read_partners"],
        "statistics": ["median_interval", "spearman"],
        "validate": ["validate_sweep"],
    },
)
