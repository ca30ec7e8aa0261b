"""Features of two dictionaries that stand for one another, as `circuit-sweep diff` matched them.

A matched pair is each other's best, so the table reads in both directions: what was written for A and B
serves a page of B beside A as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Int

from pipeline.errors import ConfigurationError
from pipeline.store import open_folder

FILE = "diff_matches.parquet"

BLOCK_BYTES = 1 << 20

Features = Int[np.ndarray, "features 2"]
"""Layer and index of each."""


@dataclass(frozen=True)
class Matches:
    """Matched pairs of features: of the sweep that is shown, and of the one beside it."""

    folder: str
    here: Features
    there: Features

    @classmethod
    def read(cls, folder: str, here: Mapping[str, str], there: Mapping[str, str]) -> Matches:
        """Read the pairs of two dictionaries, given by their fingerprints.

        Raises:
            ConfigurationError: the folder has none, or they are of other dictionaries.

        """
        from pipeline.compare import DICTIONARIES  # late: few pages compare, and it needs scipy

        files = open_folder(folder)
        if not files.exists(FILE):
            raise ConfigurationError(
                f"--matches {folder} has no {FILE}: `circuit-sweep diff A B --output FOLDER` writes one "
                "where A and B have different dictionaries."
            )
        rows = pq.read_table(files.open(FILE, BLOCK_BYTES))
        of_a, of_b = json.loads((rows.schema.metadata or {}).get(DICTIONARIES, b"[null, null]"))
        if [here, there] not in ([of_a, of_b], [of_b, of_a]):
            raise ConfigurationError(
                f"--matches {folder} is not of the two dictionaries that are compared: write it again with "
                "`circuit-sweep diff`."
            )
        matched = rows.filter(rows["matched"])
        a, b = (
            np.stack(
                [matched[f"{name}_{side}"].to_numpy() for name in ("layer", "feature")], 1, dtype=np.int64
            )
            for side in "ab"
        )
        return cls(folder, *((a, b) if here == of_a else (b, a)))

    def of(self, layers: Int[np.ndarray, " n"], features: Int[np.ndarray, " n"], is_there: bool) -> Features:
        """Return the counterparts of features of this sweep, or of the other; -1 where there is none."""
        own, others = (self.there, self.here) if is_there else (self.here, self.there)
        known = {(layer, feature): pair for (layer, feature), pair in zip(own.tolist(), others, strict=True)}
        none = np.full(2, -1)
        pairs = zip(layers.tolist(), features.tolist(), strict=True)
        return np.array([known.get(pair, none) for pair in pairs]).reshape(-1, 2)
