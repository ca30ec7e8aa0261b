"""Questions over a finished sweep with Polars; needs the extra `circuit-sweep[polars]`.

make demo
python examples/questions_with_polars.py
"""

import polars as pl

from pipeline import Results

results = Results("runs/demo")
graphs = results.lazy_frame("graphs")
nodes = results.lazy_frame("nodes").filter(pl.col("kind") == "feature")

# Which features are in the circuits of only one kind of prompt?
prompts = graphs.group_by("family").len("prompts")
kept = (
    nodes.join(graphs.select("prompt_key", "family"), on="prompt_key")
    .group_by("layer", "feature", "family")
    .agg(pl.col("prompt_key").n_unique().alias("kept"))
    .with_columns(share_of_kept=pl.col("kept") / pl.col("kept").sum().over("layer", "feature"))
    .join(prompts, on="family")
    .with_columns(share_of_family=pl.col("kept") / pl.col("prompts"))
    .filter(pl.col("share_of_kept") > 0.9, pl.col("share_of_family") > 0.5)
    .sort("share_of_family", "layer", "feature", descending=[True, False, False])
)
print("features that one family has to itself, and most of it has:")
print(kept.collect())

# How deep in the model do the circuits of each kind of prompt sit?
depth = (
    nodes.group_by("prompt_key")
    .agg((pl.col("layer") * pl.col("influence")).sum() / pl.col("influence").sum())
    .join(graphs.select("prompt_key", "family"), on="prompt_key")
    .group_by("family")
    .agg(pl.col("layer").mean().alias("mean layer, by influence"))
    .sort("mean layer, by influence")
)
print(depth.collect())
