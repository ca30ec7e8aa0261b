"""`faithfulness`: one row a graph, the verdict of its tests in `validations`."""

from __future__ import annotations

import pyarrow as pa

from schemas.node_columns import prompt_key
from schemas.table import Table, column

VALUE = "logits, or the feature's unit"


def _correlation(name: str, meaning: str) -> pa.Field:
    return column(name, pa.float64(), meaning, "correlation", nullable=True)


def _share(name: str, meaning: str) -> pa.Field:
    return column(name, pa.float64(), meaning, "share of what is at stake", nullable=True)


def _rank(name: str, meaning: str) -> pa.Field:
    return column(name, pa.int32(), meaning, "rank", nullable=True)


_ORIGIN = [
    prompt_key(),
    column("id", pa.string(), "The user's name for the prompt, as in `graphs`", "name"),
    column("target_kind", pa.string(), "Kind of the first target: token, difference or feature", "kind"),
    column("target", pa.int32(), "The first target's token; the likeliest where it is a feature", "token id"),
    column(
        "rival",
        pa.int32(),
        "The token whose logit is subtracted: the partner's answer, the runner-up, or the other one of a "
        "difference",
        "token id",
        nullable=True,
    ),
    column("rival_kind", pa.string(), "`partner`, `runner-up` or `difference`", "kind", nullable=True),
    column("circuit_features", pa.int32(), "Features that pruning kept: the circuit", "features"),
    column("active_features", pa.int32(), "Features that are active on the prompt", "features"),
]

_BASELINES = [
    column("log_probability", pa.float64(), "Log-probability of the target in the clean run", "nats"),
    column(
        "log_probability_ablated",
        pa.float64(),
        "The same with every active feature set to 0",
        "nats",
    ),
    column(
        "value",
        pa.float64(),
        "What is explained, in the clean run: target's logit less the rival's, or a feature's pre-activation",
        VALUE,
    ),
    column("value_ablated", pa.float64(), "The same with every active feature set to 0", VALUE),
    column("stake", pa.float64(), "`value` less `value_ablated`: all that the features decide", VALUE),
    column(
        "is_at_stake",
        pa.bool_(),
        "True if |stake| is at least 0.1 logits, or 10% of a feature's pre-activation; else no shares",
        "true or false",
    ),
]

_ABLATION = [
    column("ablations", pa.int32(), "Kept features that were ablated one by one", "tests"),
    _correlation("spearman", "Rank correlation of influence and effect on what is explained"),
    _correlation("pearson", "Correlation of log influence and log effect on what is explained"),
    _correlation("spearman_divergence", "Rank correlation of influence and KL of the output"),
    _correlation("free_spearman", "As `spearman`, with attention patterns free"),
    _correlation("replacement_spearman", "As `spearman`, in the replacement run"),
    _correlation("pearson_divergence", "Correlation of log influence and log KL of the output"),
]

_SIMPLE_RANKINGS = {
    "write_norm": "|activation| times norm of the decoder",
    "late_write_norm": "this divided by 1 + distance to the last position",
    "direct_edge": "the edges to the targets alone",
    "gradient": "activation times the gradient in the model itself",
}

_COMPARISONS = [
    field
    for name, meaning in _SIMPLE_RANKINGS.items()
    for field in (
        _correlation(f"spearman_{name}", f"As `spearman`, of a simpler ranking: {meaning}"),
        _correlation(
            f"spearman_beside_{name}", f"Partial correlation, of `spearman` given `spearman_{name}`'s ranking"
        ),
    )
]

_PAIRS = [
    column("pairs", pa.int32(), "(source, later feature) pairs outside the constrained ranges", "pairs"),
    _correlation("pair_spearman", "Rank correlation of predicted and observed changes over all pairs"),
    column(
        "knock_on_pairs",
        pa.int32(),
        "Pairs with a live layer between range and later feature, so that no effect holds by construction",
        "pairs",
    ),
    _correlation("knock_on_spearman", "The same correlation over these pairs alone"),
    _correlation("knock_on_size_spearman", "The same over the sizes of the changes, without their signs"),
]


def _sets(name: str, prefix: str, where: str) -> list[pa.Field]:
    """Return the columns of a test of feature sets in one of the runs."""
    meaning, best = _TESTS[name]
    column = f"{prefix}{name}"
    shares = [
        _share(column, f"{where}: {meaning}"),
        _share(f"{column}_null", f"{where}: median of `{column}` over matched random sets"),
        _share(f"{column}_active_null", f"{where}: the same over equal sets of any active features"),
        _share(f"{column}_by_norm", f"{where}: `{column}` of as many features that write most"),
        _share(
            f"{column}_worst", f"{where}: `{column}` of an equal set outside it that costs most, greedily"
        ),
    ]
    if prefix == "free_":
        return shares
    return [*shares, _rank(f"{column}_rank", f"{where}: rank among the matched sets; 1 {best} most")]


_TESTS = {
    "necessity": ("effect lost when the circuit is set to 0", "loses"),
    "top_necessity": ("effect lost when the circuit's most influential features are set to 0", "loses"),
    "sufficiency": ("effect kept when all active features outside the circuit are set to 0", "keeps"),
    "sufficiency_without_errors": (
        "as `replacement_sufficiency`, with the errors taken away too, as a share of the stake without them",
        "keeps",
    ),
}

_HELD, _FREE, _REPLACEMENT = "Patterns held", "Patterns free", "Replacement run"

_CIRCUIT = [
    *_sets("necessity", "", _HELD),
    *_sets("top_necessity", "", _HELD),
    *_sets("sufficiency", "", _HELD),
    column(
        "free_stake", pa.float64(), "Patterns free: `value` less that with every active feature at 0", VALUE
    ),
    *_sets("necessity", "free_", _FREE),
    *_sets("sufficiency", "free_", _FREE),
    column(
        "replacement_stake",
        pa.float64(),
        "Replacement run: `value` less that with every active feature at 0 and errors kept",
        VALUE,
    ),
    column(
        "replacement_stake_without_errors",
        pa.float64(),
        "Replacement run: `value` less that with every active feature at 0 and no errors",
        VALUE,
    ),
    *_sets("necessity", "replacement_", _REPLACEMENT),
    *_sets("top_necessity", "replacement_", _REPLACEMENT),
    *_sets("sufficiency", "replacement_", _REPLACEMENT),
    *_sets("sufficiency_without_errors", "replacement_", _REPLACEMENT),
    column("draws", pa.int32(), "Random sets for each of these tests", "sets"),
    column(
        "null_size_ratio",
        pa.float64(),
        "Summed write norm of the matched sets over the circuit's, mean of the draws; below 0.95 features "
        "ran out",
        "ratio",
    ),
    column("active_null_size_ratio", pa.float64(), "The same of equal sets of any active features", "ratio"),
    column("worst_size_ratio", pa.float64(), "The same of the set that costs most", "ratio"),
]

_COST = [
    column("interventions", pa.int32(), "Rows of interventions that were run", "rows"),
    column("seconds", pa.float64(), "Wall time of the prompt's tests", "seconds"),
    column("seed", pa.int64(), "Seed of everything drawn for this prompt, with its key", "seed"),
    column("run_key", pa.int64(), "64 bits of a hash over all that changes a result", "key"),
    column("created", pa.timestamp("us", tz="UTC"), "Time of the test", "UTC time"),
]

FAITHFULNESS = Table(
    name="faithfulness",
    row="a tested graph",
    key=("prompt_key",),
    plain=("prompt_key",),
    schema=pa.schema([*_ORIGIN, *_BASELINES, *_ABLATION, *_COMPARISONS, *_PAIRS, *_CIRCUIT, *_COST]),
)
