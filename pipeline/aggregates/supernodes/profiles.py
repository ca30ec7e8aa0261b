"""Profiles of features over the prompts: where each is active, what drives it, what it drives.

Three blocks of columns, each scaled to length 1: its largest activation on each prompt; the influence of the
edges into it by source (a token, a feature, an error layer); the influence of the edges out of it by target.
Similarity of two features is the mean of their cosines over the blocks of a profile. Kept per prompt, so that
a part or a resample of the prompts is a reweighting of the same entries. An edge between two features makes
them no more alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from scipy.sparse import csr_array

FEATURES = """
    create temp table chosen as
    select row_number() over (order by layer, feature) - 1 as item, layer, feature, prompts from (
        select layer, feature, count(distinct prompt_key) as prompts
        from nodes join sampled using (prompt_key) join halves using (prompt_key) where kind = 'feature'
        group by layer, feature having prompts >= $least and bool_or(held_out) and not bool_and(held_out)
        order by prompts desc, layer, feature limit $most
    )
"""

SAMPLED_PROMPTS = """
    create temp table sampled as
    select prompt_key, row_number() over (order by prompt_key) - 1 as prompt, cluster
    from prompts order by prompt_key limit $most
"""

BLOCKS = {
    "active": """
        select item, prompt, prompt as other, max(activation)::double as value
        from activations join sampled using (prompt_key) join chosen using (layer, feature) group by all
    """,
    "driven": """
        select item, prompt, hash(
                source_kind, coalesce(source_layer, -1), coalesce(source_feature, source_token_id, -1)
            ) as other,
            sum(influence)::double as value
        from edges join sampled using (prompt_key)
            join chosen on target_kind = 'feature' and layer = target_layer and feature = target_feature
        group by all
    """,
    "drives": """
        select item, prompt, hash(
                target_kind, target_layer, coalesce(target_feature, target_token_id, -1)
            ) as other,
            sum(influence)::double as value
        from edges join sampled using (prompt_key)
            join chosen on source_kind = 'feature' and layer = source_layer and feature = source_feature
        group by all
    """,
}


Profile = Literal["activity, drivers and driven", "activity"]

PROFILES: dict[Profile, tuple[str, ...]] = {
    "activity, drivers and driven": ("active", "driven", "drives"),
    "activity": ("active",),
}
"""Blocks that features are compared by. Activity alone is the simpler competitor."""


@dataclass(frozen=True)
class Block:
    """Entries of some columns, side by side."""

    item: Int[np.ndarray, " entries"]
    prompt: Int[np.ndarray, " entries"]
    column: Int[np.ndarray, " entries"]
    value: Float[np.ndarray, " entries"]

    columns: int
    """Number of columns."""

    by_prompt: bool
    """True if columns are prompts."""

    def cosines(self, weight: Float[np.ndarray, " prompts"], items: int) -> Float[np.ndarray, "items items"]:
        """Return the cosines of all items with the prompts so weighted; 0 with an item without entries."""
        # A prompt that is drawn twice is two columns of the same values, or counts twice in a sum.
        value = self.value * (np.sqrt(weight) if self.by_prompt else weight)[self.prompt]
        rows = csr_array((value, (self.item, self.column)), shape=(items, self.columns))
        products = (rows @ rows.T).toarray()
        norm = np.sqrt(np.maximum(np.diag(products), 1e-30))
        return products / np.outer(norm, norm)


@dataclass(frozen=True)
class Profiles:
    """The profiles of some features."""

    features: Int[np.ndarray, "items 2"]
    """Layer and feature of each item."""

    clusters: Int[np.ndarray, " prompts"]
    """Number of each prompt's cluster: prompts that repeat one another."""

    blocks: dict[str, Block]

    @property
    def prompts(self) -> int:
        """Number of prompts."""
        return len(self.clusters)

    def similarity(
        self, weight: Float[np.ndarray, " prompts"], profile: Profile
    ) -> Float[np.ndarray, "items items"]:
        """Return the mean cosine of all pairs over a profile, with each prompt counted `weight` times."""
        blocks = [self.blocks[name] for name in PROFILES[profile]]
        return sum(block.cosines(weight, len(self.features)) for block in blocks) / len(blocks)


def sampled_prompts(connection: duckdb.DuckDBPyConnection, most: int) -> pa.Table:
    """Take the first prompts by key (a hash, so any are as good as others): `prompt_key` and `cluster`."""
    connection.execute(SAMPLED_PROMPTS, {"most": most})
    return connection.sql("select prompt_key, cluster from sampled order by prompt").to_arrow_table()


def read_profiles(connection: duckdb.DuckDBPyConnection, min_prompts: int, most: int) -> Profiles:
    """Read the profiles of the features that graphs keep most often, if graphs of both halves do.

    Args:
        connection: a sweep's tables, the sampled prompts, and `halves`: which of them are held out.
        min_prompts: prompts whose graph must hold a feature.
        most: features at most.

    """
    connection.execute(FEATURES, {"least": min_prompts, "most": most})
    chosen = connection.sql("select layer, feature from chosen order by item").to_arrow_table()
    features = np.stack([chosen[name].to_numpy() for name in ("layer", "feature")], axis=1).astype(np.int64)
    clusters = connection.sql("select cluster from sampled order by prompt").fetchnumpy()["cluster"]
    return Profiles(features, clusters, {name: _block(connection, name) for name in BLOCKS})


def _block(connection: duckdb.DuckDBPyConnection, name: str) -> Block:
    rows = connection.sql(BLOCKS[name]).to_arrow_table()
    # Hashes to column numbers, without gaps.
    _, column = np.unique(rows["other"].to_numpy(), return_inverse=True)
    item, prompt = (rows[field].to_numpy().astype(np.int64) for field in ("item", "prompt"))
    columns = int(column.max(initial=-1)) + 1
    return Block(item, prompt, column, rows["value"].to_numpy(), columns, name == "active")
