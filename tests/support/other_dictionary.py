"""The same graphs under another dictionary, whose features are the same in another order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tests.support.outputs import Tables

RENAMED = np.random.default_rng(0).permutation(1024)
"""Index of each feature in the other dictionary."""


def replaced(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), pa.array(values, table.schema.field(name).type))


def renamed(tables: Tables) -> Tables:
    """The same graphs under another dictionary: features of each layer in another order."""
    changed = dict(tables)
    for name, columns in {
        "activations": ["feature"],
        "nodes": ["feature"],
        "edges": ["source_feature", "target_feature"],
    }.items():
        for column in columns:
            ids = changed[name][column].fill_null(0).to_numpy()
            is_null = changed[name][column].is_null().to_numpy()
            changed[name] = replaced(changed[name], column, np.ma.array(RENAMED[ids], mask=is_null))
    return changed
