"""Convert a dictionary of any known format to circuit-tracer's.

The same tensors in other files: `circuit-sweep` and circuit-tracer then read them by row, and what a
format keeps folded apart (standardisers) is folded in. A set from the Hub is downloaded first.

circuit-tracer up to 0.5.0 reads less than its format can say: TopK becomes ReLU, and the skip paths of a
cross-layer set are left out, both without a word. Such a set is refused, unless it is meant for Circuit
Sweep alone.
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

    for_circuit_sweep: bool = False
    """Write a set that circuit-tracer up to 0.5.0 reads wrongly, for Circuit Sweep alone."""


def main(argv: list[str] | None = None) -> int:
    """Convert, and say what was written."""
    options = parse(Options, argv, "convert", __doc__)

    import torch

    from pipeline.builtin import resolve
    from pipeline.errors import TranscoderError
    from pipeline.transcoders import load_transcoders, misread_by_circuit_tracer, write_transcoders

    transcoders = load_transcoders(resolve(options.source, "transcoders"), lazy_encoder=True)
    misread = "; ".join(misread_by_circuit_tracer(transcoders))
    if misread and not options.for_circuit_sweep:
        raise TranscoderError(
            f"circuit-tracer up to 0.5.0 would read {options.source} wrongly once it is in its format: "
            f"{misread}. With --for-circuit-sweep it is written for Circuit Sweep alone, which reads all of "
            "it."
        )
    dtype = None if options.dtype == "keep" else getattr(torch, options.dtype)
    write_transcoders(transcoders, options.destination, dtype, options.model_name)
    written = sum(path.stat().st_size for path in options.destination.iterdir())
    print(
        f"{options.destination}: {transcoders.n_layers} layers of {transcoders.layers[0].n_features:,} "
        f"features, {written / 1e9:.2f} GB"
    )
    if misread:
        print(f"For Circuit Sweep alone; circuit-tracer up to 0.5.0 reads it wrongly: {misread}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
