"""Hold features at values while the model speaks, and compare what it says.

Continues each prompt with the clean model and at every strength, and prints the continuations side by side,
or writes them as rows (`circuit-sweep schema steering` describes these). A feature is held at every position
of the prompt and at every new one, unless its name has a position.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jobs._command_line import parse
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command
from pipeline.builtin import NAMES, resolve
from pipeline.errors import ConfigurationError
from pipeline.token_labels import token_label

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.intervention import Steered
    from pipeline.model import ReplacementModel
    from pipeline.untrusted import Console


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep, whose model and transcoders are loaded as they were; a sweep file, `demo` or
    `english`."""

    feature: tuple[str, ...]
    """Feature to hold: `2/350=4` (feature 350 of layer 2 at 4), `2/350=x0` (a multiple of its activation),
    `2/350@8=4` (at one position)."""

    prompts: tuple[str, ...]
    """Texts to continue."""

    strengths: tuple[float, ...] = (1.0,)
    """Multiples of the values (or of a factor's distance from 1); the clean model is always shown."""

    tokens: tuple[str, ...] = ()
    """Tokens whose logits to report (default: the likeliest at each strength)."""

    max_new_tokens: int | None = None
    """Maximum number of tokens to add (default: 20, or what the context has room for)."""

    temperature: float = 0.0
    """0 takes the most likely token; above, samples."""

    seed: int = 0
    """Seed of the sampling."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings, if the sweep did."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)


def main(argv: list[str] | None = None) -> int:
    """Steer and return the exit code."""
    arguments = parse(Arguments, argv, "steer", __doc__)
    from pipeline.intervention import parse_intervention, steer
    from pipeline.model import token_id
    from pipeline.untrusted import Console

    interventions = [parse_intervention(text) for text in arguments.feature]
    model = _load(arguments.source, arguments.trust_remote_code)
    tokens = [token_id(model.tokenizer, text, model.vocabulary_size) for text in arguments.tokens]
    console = Console()
    said: list[Steered] = []
    for prompt in arguments.prompts:
        rows = steer(
            model,
            prompt,
            interventions,
            arguments.strengths,
            tokens,
            arguments.max_new_tokens,
            arguments.temperature,
            arguments.seed,
        )
        said += rows
        if not arguments.rows.given:
            _print(console, rows)
    if arguments.rows.given:
        write_rows(_table(arguments, said), arguments.rows)
    return 0


def _load(source: str, trust_remote_code: bool) -> ReplacementModel:
    if source not in NAMES and not Path(source).is_file():
        from pipeline.store import Output
        from pipeline.sweep_model import recorded_model

        return recorded_model(Output(source), trust_remote_code).load()
    import torch

    from pipeline import ReplacementModel
    from pipeline.sweep import check, read_sweep_file

    values, lines = read_sweep_file(resolve(source, "sweep"))
    config = check(values, source, lines, allow_missing=True)
    if not config.model or not config.transcoders:
        raise ConfigurationError(f"{source} names no model or no transcoders: steering needs both.")
    return ReplacementModel.from_pretrained(
        config.model,
        transcoders=config.transcoders,
        dtype=getattr(torch, config.dtype),
        trust_remote_code=config.trust_remote_code or trust_remote_code,
        lazy_encoder=config.lazy_encoder,
        opening=config.prompts.opening,
        zero_positions=config.zero_positions,
    )


def _print(console: Console, rows: list[Steered]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(rows[0].prompt, style="bold"), title_justify="left")
    table.add_column("strength", justify="right")
    table.add_column("continuation")
    for watched in rows[0].logits:
        table.add_column(Text(token_label(watched.token)), justify="right")
    for row in rows:
        cells = (f"{w.logit:.2f} ({w.change:+.2f})" if row.strength else f"{w.logit:.2f}" for w in row.logits)
        table.add_row(f"{row.strength:g}", Text(row.continuation.text), *cells)
    console.print(table)


def _table(arguments: Arguments, said: list[Steered]) -> pa.Table:
    from dataclasses import asdict

    import pyarrow as pa

    from schemas import STEERING

    rows = [
        {
            "prompt": row.prompt,
            "intervention": ", ".join(arguments.feature),
            "strength": row.strength,
            "continuation": row.continuation.text,
            "token_ids": list(row.continuation.token_ids),
            "logits": [asdict(watched) for watched in row.logits],
            "temperature": arguments.temperature,
            "seed": arguments.seed,
        }
        for row in said
    ]
    return pa.Table.from_pylist(rows, schema=STEERING.schema)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
