"""`circuit_tests`: what interventions on the test half say of each circuit."""

from __future__ import annotations

import pyarrow as pa

from schemas.circuits.columns import circuit
from schemas.prompt_groups import grouped_by
from schemas.table import Table, column

TESTS = {
    "necessity": "share of the stake that is lost with the circuit at 0",
    "sufficiency": "share that is left with all active features but the circuit's at 0",
    "minimality": "share that the circuit alone loses without one supernode",
    "specificity": "share that prompts of the other groups lose with it at 0",
    "invariance": "least necessity within a set of paraphrases",
    "dose": "share that is lost with its activations multiplied by the dose",
}
"""Tests with the meaning of their value."""

CIRCUIT_TESTS = Table(
    name="circuit_tests",
    row="a test of a circuit, or of a set in its place",
    key=("circuit", "test", "mode", "against", "supernode", "dose"),
    schema=pa.schema(
        [
            circuit(),
            column(
                "test",
                pa.string(),
                "; ".join(f"{name}: {meaning}" for name, meaning in TESTS.items()),
                "name",
            ),
            column(
                "mode",
                pa.string(),
                "default: the model with its attention patterns held; open: with them free; replacement: the "
                "dictionary in place of the MLPs",
                "name",
            ),
            column(
                "against",
                pa.string(),
                "Null for the circuit itself. Else what it is compared with, and `value` is by how much it "
                "exceeds "
                "it: matched (features of the same layers and positions that write as much), active (any), "
                "largest "
                "(as many that write most), rewired (random circuits from the same graphs)",
                "name",
                nullable=True,
            ),
            column("supernode", pa.int32(), "Of minimality the supernode that goes", "index", nullable=True),
            column("dose", pa.float64(), "Of dose the factor of the activations", "multiple", nullable=True),
            column("prompts", pa.int64(), "Prompts of the test half with something at stake", "prompts"),
            column("clusters", pa.int64(), "Clusters of these, each one observation", "clusters"),
            column(
                "value",
                pa.float64(),
                "As a share of what is at stake: the answer's logit less the rival's in the clean run less "
                "the same with all active features at 0; mean over clusters over the mean stake",
                "share",
            ),
            column("low", pa.float64(), "Lower end of its 95% interval", "share", nullable=True),
            column("high", pa.float64(), "Upper end of its 95% interval", "share", nullable=True),
            column(
                "flipped",
                pa.float64(),
                "Prompts whose likeliest token changes",
                "share, 0 to 1",
                nullable=True,
            ),
            column(
                "p_value",
                pa.float64(),
                "Of sets that are drawn: chance of the circuit's value among the draws",
                "probability",
                nullable=True,
            ),
            column(
                "q_value",
                pa.float64(),
                "False discovery rate over circuits (over supernodes, of minimality)",
                "rate, 0 to 1",
                nullable=True,
            ),
            column(
                "is_shown",
                pa.bool_(),
                "True if the interval leaves out 0 on the circuit's side and the q-value, where there is "
                "one, is at "
                "most 0.05; of specificity if the interval lies within 0.1 of 0",
                "yes or no",
                nullable=True,
            ),
            grouped_by(),
        ]
    ),
)
