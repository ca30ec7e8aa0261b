"""Look at a sweep in a browser: overview, graphs, features, circuits, what-if.

Serves a page on this machine alone, and prints its address with a token; Ctrl-C ends it. For an output on
another machine, run it there with --no-browser and --port 8000, forward that port with
`ssh -L 8000:127.0.0.1:8000 MACHINE`, and open the printed address here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs._picture import write_picture
from jobs.cli import program, run_command
from pipeline.builtin import NAME
from pipeline.errors import ConfigurationError

DEMO_OUTPUT = "runs/demo"
"""Output of `make demo`."""


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep, a folder or an `s3://` URL, or `demo` for that of `make demo`."""

    port: int = 0
    """Port to listen at (default: a free one)."""

    host: str = "127.0.0.1"
    """Address to listen at. Any but the default lets other machines in, who need the token too; nothing is
    encrypted."""

    model: Literal["auto", "off"] = "auto"
    """`auto` loads the sweep's model once the page asks for it; `off` never does."""

    device: str | None = None
    """Device of the model (default: the GPU if there is one)."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings, if the sweep did."""

    diff: str | None = None
    """Output of a second sweep, to compare with."""

    matches: str | None = None
    """With --diff, where the two dictionaries differ: the folder that `diff A B --output FOLDER` wrote."""

    at: str | None = None
    """State to show: a published version's number, or a date (default: all that is committed now)."""

    read_only: bool = False
    """Write no labels, groups, views or runs into the output."""

    no_browser: bool = False
    """Print the address and open nothing."""

    embed_from: str | None = None
    """Origin whose pages may show this one in a frame, such as http://localhost:8888."""

    export: Path | None = None
    """Serve nothing, and write the page of some prompts to this HTML file, which opens without a server;
    above 50 MB it is a folder."""

    picture: str | None = None
    """Serve nothing, and draw the graph of one --prompt into this SVG or PNG file. A PNG needs
    `circuit-sweep[png]`."""

    prompt: tuple[str, ...] = ()
    """With --export: ids of the prompts. With --picture: that of its prompt."""

    where: str | None = None
    """With --export: SQL over `graphs` that chooses prompts, such as "family = 'two_hop'"."""


def main(argv: list[str] | None = None) -> int:
    """Serve until Ctrl-C, and return 0."""
    arguments = parse(Arguments, argv, "view", __doc__)

    from pipeline.viewer import ViewOptions, view

    options = ViewOptions(
        host=arguments.host,
        port=arguments.port,
        at=arguments.at,
        diff=arguments.diff,
        matches=arguments.matches,
        model=arguments.model == "auto",
        device=arguments.device,
        trust_remote_code=arguments.trust_remote_code,
        read_only=arguments.read_only,
        open_browser=not arguments.no_browser,
        embed_from=arguments.embed_from,
    )
    if arguments.picture is not None:
        return _draw(arguments)
    if arguments.export is not None:
        return _export(arguments)
    if arguments.prompt or arguments.where is not None:
        raise ConfigurationError(
            "--prompt and --where say what --export writes: give --export page.html too."
        )
    view(_output(arguments.output), options, lambda line: print(line, flush=True))
    return 0


def _draw(arguments: Arguments) -> int:
    """Draw one graph and return 0."""
    from pipeline.results import Results, read_graph

    if len(arguments.prompt) != 1 or arguments.where is not None or arguments.export is not None:
        raise ConfigurationError(
            "--picture draws the graph of one prompt: give one --prompt ID, and no more."
        )
    graph = read_graph(Results(_output(arguments.output), arguments.at), arguments.prompt[0])
    write_picture(graph, arguments.picture)
    return 0


def _export(arguments: Arguments) -> int:
    """Write the page to a file and return 0."""
    from pipeline.readable import readable_bytes
    from pipeline.viewer import export_page

    written = export_page(_output(arguments.output), arguments.export, arguments.prompt, arguments.where)
    print(
        f"{written.path}: {written.prompts:,} prompts and {written.features:,} features, "
        f"{readable_bytes(written.bytes)}"
    )
    return 0


def _output(given: str) -> str:
    """Return the output that is meant; the built-in sweep's is where `make demo` writes it."""
    if given != NAME:
        return given
    from pipeline.store import SWEEP, open_folder

    if not open_folder(DEMO_OUTPUT).exists(SWEEP):
        raise ConfigurationError(
            f"{DEMO_OUTPUT} holds no demo yet: run `{program()} run demo --output {DEMO_OUTPUT}` "
            "first, which takes a minute or two."
        )
    return DEMO_OUTPUT


if __name__ == "__main__":
    raise SystemExit(run_command(main))
