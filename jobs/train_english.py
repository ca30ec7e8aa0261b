"""Retrain the built-in English model, its transcoders and its card from a seed.

Takes some twenty minutes. Writes a folder like `pipeline/english/files`: `model/`, `transcoders/`,
`glosses.parquet`, `prompts.parquet`, `card.json` and `card.md`. Use it in a sweep by its path: `model:
FOLDER/model`, `transcoders: FOLDER/transcoders`, `prompts: FOLDER/prompts.parquet`. The transcoders alone:
`circuit-sweep train pipeline/english/dictionary.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobs._command_line import parse
from jobs.cli import run_command

THREADS = 1
"""Threads of the training: the same everywhere, as their number changes the last bits of sums."""


@dataclass(frozen=True)
class Options:
    """Arguments of the command line."""

    output: Path = Path("runs/english-model")
    """Folder for the files; what it holds under their names is replaced."""

    seed: int = 0
    """Seed of weights, order of the texts and choice of prompts. The files that ship have 0."""

    epochs: int = 3
    """Times that the model reads every text; one gives a quick trial."""

    steps: int | None = None
    """Steps of the transcoders; fewer give a quick trial of a changed recipe."""


def main(argv: list[str] | None = None) -> int:
    """Train, save, measure and print."""
    options = parse(Options, argv, "train-english", __doc__)
    from pipeline.errors import ConfigurationError

    for name, value in (("epochs", options.epochs), ("steps", options.steps)):
        if value is not None and value < 1:
            raise ConfigurationError(f"--{name} is {value}; it must be at least 1.")
    import torch
    from rich.table import Table
    from transformers.utils import logging

    from jobs._stages import stage_bars
    from pipeline.english import ModelTraining, build_english, class_rows, layer_rows
    from pipeline.untrusted import Console

    torch.set_num_threads(THREADS)
    logging.disable_progress_bar()
    with stage_bars() as progress:
        model = ModelTraining(epochs=options.epochs)
        found = build_english(options.output, model, options.seed, progress, options.steps)
    console = Console()
    for title, (heading, rows) in {
        "Transcoders": layer_rows(found.dictionary["layers"]),
        "Classes": class_rows(found),
    }.items():
        table = Table(*heading, title=title, title_justify="left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(f"perplexity {found.perplexity:.1f}; the card is {options.output / 'card.md'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
