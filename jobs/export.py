"""Write graphs as JSON for viewers and GraphML for graph tools, with the features that appear in them.

circuit-tracer's viewer (`circuit-tracer start-server --graph_file_dir DIR`) shows the graphs, but fetches
features from a server of its own and does not see those in DIR. Neuronpedia takes graphs whose `--scan` is
its name of the model, and reads features at the address in `metadata.feature_details`: put the folder
`features` on a public server, and its address there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jobs._command_line import parse
from jobs.cli import run_command


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    url: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    output: Path
    """Folder that receives the files."""

    prompt: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Id of a prompt; may be given several times."""

    where: str | None = None
    """SQL over the table graphs that chooses prompts: "family = 'two_hop' and completeness_score > 0.9"."""

    features: Literal["full", "activations", "none"] = "full"
    """Details to write of each feature: full loads the model for the tokens that it promotes and suppresses;
    activations leaves these out."""

    scan: str | None = None
    """Name of the dictionary in the files; for Neuronpedia its name of the model, such as gemma-2-2b
    (default: the dictionary's own name)."""

    supernodes: bool = False
    """Show features of a supernode together, as `aggregate --of supernodes` last found them."""

    max_mb: float | None = None
    """Maximum size of a graph's JSON in MB (2**20 bytes), of which Neuronpedia takes 100: above it, edges of
    the lowest influence are left out (default: whole graphs)."""

    graphml: bool = True
    """Write GraphML too, which takes most of the time and space of large graphs."""

    trust_remote_code: bool = False
    """Run Python code that the model's repository brings, if the sweep did."""

    at: str | None = None
    """State to export: a published version's number or a date (default: all that is committed now)."""


def main(argv: list[str] | None = None) -> int:
    """Export graphs and return 0."""
    arguments = parse(Arguments, argv, "export", __doc__)

    from pipeline.errors import ConfigurationError
    from pipeline.export import MEGABYTE, export
    from pipeline.results import Results
    from pipeline.untrusted import Console

    if not arguments.prompt and arguments.where is None:
        raise ConfigurationError("which prompts? Give --prompt ID, or --where SQL for many.")
    if arguments.max_mb is not None and not 0 < arguments.max_mb < inf:
        raise ConfigurationError(f"--max-mb is {arguments.max_mb}; it must be a size above 0.")
    results = Results(arguments.url, arguments.at)
    console = Console(highlight=False)
    with console.status("") as status:
        done = export(
            results,
            arguments.output,
            arguments.prompt,
            arguments.where,
            arguments.features,
            status.update,
            arguments.trust_remote_code,
            scan=arguments.scan,
            supernodes=arguments.supernodes,
            graphml=arguments.graphml,
            most_bytes=None if arguments.max_mb is None else round(arguments.max_mb * MEGABYTE),
        )
    console.print(
        f"{len(done.graphs):,} graphs and {done.features:,} features in {arguments.output}", soft_wrap=True
    )
    for name, size in done.too_large.items():
        console.print(
            f"{name}.json has {size / MEGABYTE:,.0f} MB, more than the 100 MB that Neuronpedia takes: with "
            "--max-mb 100 its edges of the lowest influence are left out.",
            markup=False,
            soft_wrap=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(run_command(main))
