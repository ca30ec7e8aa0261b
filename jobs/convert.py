"""Convert a dictionary of any known format to circuit-tracer's.

The same tensors in other files: `circuit-sweep` and circuit-tracer then read them by row, and what a
format keeps folded apart (standardisers) is folded in. A set from the hub is downloaded first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs.cli import run_command


@dataclass(frozen=True)
class Options:
    """Arguments of the command line."""

    source: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="SRC")]]
    """A folder, or a hub name `org/repo[/subfolder][@revision]`."""

    destination: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DST")]]
    """Folder to write, which must not exist yet."""

    dtype: Literal["keep", "float32", "float16", "bfloat16"] = "keep"
    """Element type to write; `keep` leaves every tensor its own."""

    model_name: str = ""
    """The model that the dictionary is for, to be noted in the configuration."""


def main(argv: list[str] | None = None) -> int:
    """Convert, and say what was written."""
    options = parse(Options, argv, "convert", __doc__)

    import torch

    from pipeline.builtin import resolve
    from pipeline.transcoders import load_transcoders, write_transcoders

    transcoders = load_transcoders(resolve(options.source, "transcoders"), lazy_encoder=True)
    dtype = None if options.dtype == "keep" else getattr(torch, options.dtype)
    write_transcoders(transcoders, options.destination, dtype, options.model_name)
    written = sum(path.stat().st_size for path in options.destination.iterdir())
    print(
        f"{options.destination}: {transcoders.n_layers} layers of {transcoders.layers[0].n_features:,} "
        f"features, {written / 1e9:.2f} GB"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
