"""Projections: a table's rows once more, in the order of their features, as a compaction writes them.

By prompt, one feature's rows lie in as many row groups as it has prompts; sorted by feature they lie in one
or a few, found by the row groups' statistics. An edge has two features, so edges have two projections: by
source (what does this feature drive?) and by target (what drives it?).

Measured on 2 million synthetic edges: in prompt order 9.0 bytes an edge, by either end 9.6, of which weight
and score are 6.7. Within a feature, rows keep the order of prompts and nodes: another 0.5 bytes if they
did not. What the other end's feature costs (1.8) is nearly its entropy; its bytes lie side by side because
a dictionary of some ten thousand values a row group gains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Projection:
    """A table's rows in another order."""

    name: str
    """Folder of its files."""

    table: str
    """The table whose rows these are."""

    feature: str
    """The column that it is for: a filter on it is answered from this projection."""

    order: tuple[str, ...]
    """Columns that its rows are sorted by; then by prompt and as in the prompt's own files."""

    spread: tuple[str, ...] = ()
    """Integers of many values in no order: bytes of equal significance are stored side by side."""


PROJECTIONS = {
    projection.name: projection
    for projection in (
        Projection("nodes_by_feature", "nodes", "feature", ("kind", "layer", "feature", "token_id")),
        Projection(
            "edges_by_source",
            "edges",
            "source_feature",
            ("source_kind", "source_layer", "source_feature", "source_token_id"),
            spread=("target_feature",),
        ),
        Projection(
            "edges_by_target",
            "edges",
            "target_feature",
            ("target_kind", "target_layer", "target_feature", "target_token_id"),
            spread=("source_feature",),
        ),
        Projection("activations_by_feature", "activations", "feature", ("layer", "feature")),
    )
}
"""Every projection by its name."""


def projections_of(table: str) -> list[Projection]:
    """Return the projections of a table."""
    return [projection for projection in PROJECTIONS.values() if projection.table == table]
