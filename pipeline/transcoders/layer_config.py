"""Read the `cfg.json` that lies beside one layer's weights (SAELens, sparsify)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline.errors import TranscoderError


def layer_config(weights: Path) -> tuple[Path, dict[str, Any]]:
    """Return the path and the contents of the configuration beside a weights file.

    Raises:
        TranscoderError: it is missing, or holds no keys and values.

    """
    path = weights.with_name("cfg.json")
    if not path.is_file():
        raise TranscoderError(f"{path} is missing: it says how {weights.name} is to be used: fetch it.")
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise TranscoderError(f"{path} is not readable as JSON ({error}): fetch it again.") from error
    if not isinstance(config, dict):
        raise TranscoderError(f"{path} holds {type(config).__name__}, but must hold keys and values.")
    return path, config
