"""Show one prompt's graph: targets, scores, top features, strongest paths. Or one feature.

Of a feature: the prompts on which it is strongest, the groups that it is active in, the tokens that it
promotes. With --nodes the scores of a part of the graph. With --format or --output rows: the graph's features
alone, the feature's prompts, or the part's scores.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro

from jobs._command_line import parse
from jobs._feature_page import print_page
from jobs._labels import Labels, label_text, labelled
from jobs._picture import write_picture
from jobs._tables import TableOptions, write_rows
from jobs.cli import run_command
from pipeline.features import FeatureName
from pipeline.token_labels import token_label

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.results import Results, StoredGraph
    from pipeline.untrusted import Console

HEADS_SHOWN = 3
"""Paths that are shown of an edge, the largest ones."""


@dataclass(frozen=True)
class Arguments:
    """Arguments of the command line."""

    output: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
    """Output of a sweep: a folder or an `s3://` URL."""

    prompt: str | None = None
    """Id of the prompt: yours, or its row number where you gave none."""

    feature: str | None = None
    """Feature to show instead: its layer and index, such as `2/350`."""

    nodes: tuple[str, ...] = ()
    """Trace the prompt again and score the part of its graph that holds these features alone, all others
    counted as errors: `2/350@8`, `2/350` wherever it is active, `supernode:3` as `aggregate` found it."""

    picture: str | None = None
    """SVG or PNG file to draw the prompt's graph into, instead of printing it. A PNG needs
    `circuit-sweep[png]`."""

    features: int = 10
    """Features of the graph to show, by influence on the targets."""

    paths: int = 5
    """Paths to show, from tokens to the most probable target."""

    heads: int = 5
    """Edges to show with the attention heads that carry them, and heads with why they look where they do, if
    the sweep asked for that (`attribution.qk`)."""

    examples: int = 10
    """Prompts of the feature to show, by activation."""

    by: str | None = None
    """Groups of prompts to count the feature in: a column of `graphs`, or SQL over them."""

    trust_remote_code: bool = False
    """With --feature or --nodes: run Python code that the model's repository brings, if the sweep did."""

    rows: Annotated[TableOptions, tyro.conf.arg(name="")] = field(default_factory=TableOptions)


def main(argv: list[str] | None = None) -> int:
    """Print one graph or one feature and return 0."""
    arguments = parse(Arguments, argv, "show", __doc__)

    from jobs._looks import print_looks
    from pipeline.errors import ConfigurationError
    from pipeline.results import Results, read_graph
    from pipeline.untrusted import Console

    if (arguments.prompt is None) == (arguments.feature is None):
        raise ConfigurationError("what shall be shown? Give --prompt ID, or --feature 2/350.")
    if arguments.nodes and arguments.feature is not None:
        raise ConfigurationError("--nodes are of one prompt's graph: give --prompt ID in place of --feature.")
    if arguments.prompt is None:
        return _show_feature(arguments)
    results = Results(arguments.output)
    graph = read_graph(results, arguments.prompt)
    if arguments.picture is not None:
        write_picture(graph, arguments.picture)
        return 0
    if arguments.nodes:
        return _show_subgraph(arguments, results, graph)
    if arguments.rows.given:
        write_rows(_feature_rows(graph, arguments.features), arguments.rows)
        return 0
    console = Console(highlight=False)
    _print_prompt(console, graph)
    _print_features(console, graph, arguments.features, results.labels)
    _print_paths(console, graph, arguments.paths, results.labels)
    _print_heads(console, graph, arguments.heads)
    print_looks(console, graph, arguments.heads)
    return 0


def _show_subgraph(arguments: Arguments, results: Results, graph: StoredGraph) -> int:
    from dataclasses import asdict

    import pyarrow as pa

    from jobs._subgraph import score_subgraph
    from pipeline.retrace import retrace
    from pipeline.store import Output
    from pipeline.untrusted import Console

    whole = retrace(Output(arguments.output), graph.prompt, arguments.trust_remote_code)
    found = score_subgraph(whole, arguments.nodes, results)
    if arguments.rows.given:
        write_rows(pa.Table.from_pylist([asdict(found)]), arguments.rows)
        return 0
    console = Console(highlight=False)
    _print_prompt(console, graph)
    console.print(
        f"with {found.features:,} features and all others as errors: replacement "
        f"{found.replacement_score:.3f}, completeness {found.completeness_score:.3f}"
    )
    return 0


def _show_feature(arguments: Arguments) -> int:
    from pipeline.errors import ConfigurationError
    from pipeline.export import feature_page
    from pipeline.features import parse_feature
    from pipeline.results import Results
    from pipeline.untrusted import Console

    if arguments.examples < 1:
        raise ConfigurationError(f"--examples is {arguments.examples}; it must be at least 1.")
    results = Results(arguments.output)
    page = feature_page(
        results,
        parse_feature(arguments.feature or "", "refused"),
        arguments.examples,
        arguments.by,
        arguments.trust_remote_code,
    )
    if arguments.rows.given:
        write_rows(page.examples, arguments.rows)
    else:
        print_page(Console(highlight=False), page, results.labels)
    return 0


def _feature_rows(graph: StoredGraph, count: int) -> pa.Table:
    """Return the top features' rows of `nodes`, each with its name and its token's text in front."""
    import pyarrow as pa

    features = graph.top_features(count)
    tokens = [token_label(graph.prompt["tokens"][node["position"]]) for node in features]
    names = [str(FeatureName(node["layer"], node["feature"], node["position"])) for node in features]
    nodes = pa.Table.from_pylist(features, graph.nodes.schema)
    named = nodes.add_column(0, "name", pa.array(names, pa.string()))
    return named.add_column(1, "token", pa.array(tokens, pa.string()))


def _print_prompt(console: Console, graph: StoredGraph) -> None:
    row = graph.prompt
    console.print(f"{row['id']}: {row['text']}", style="bold", markup=False)
    if row["id"] != row["sequence"]:
        last, before = row["positions"] - 1, row["generated_index"]
        said = "" if before is None else f", token {before} of {row['generated']!r}, which it said"
        console.print(f"what follows position {last}, {token_label(row['tokens'][-1])}{said}", markup=False)
    targets = ", ".join(f"{token_label(t['label'])} {t['weight']:.3f}" for t in row["targets"])
    console.print(f"targets: {targets}", markup=False)
    console.print(
        f"replacement {row['replacement_score']:.3f}, completeness {row['completeness_score']:.3f} "
        f"(pruned: {row['pruned_replacement_score']:.3f}, {row['pruned_completeness_score']:.3f})"
    )
    console.print(
        f"{row['active_features']:,} active features; kept {row['kept_nodes']:,} of "
        f"{row['graph_nodes']:,} nodes and {row['kept_edges']:,} edges"
    )
    if row["opening"] is not None:
        console.print(f"{token_label(row['opening'])} was put in front of the prompt", markup=False)


def _print_features(console: Console, graph: StoredGraph, count: int, labels: Labels) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for name in ("feature", "token", "activation", "influence", "cumulative"):
        table.add_column(name, justify="left" if name == "token" else "right")
    if labels:
        table.add_column("label")
    for node in graph.top_features(count):
        token = Text(token_label(graph.prompt["tokens"][node["position"]]))
        numbers = (f"{node[name]:.3f}" for name in ("activation", "influence", "cumulative_influence"))
        name = FeatureName(node["layer"], node["feature"], node["position"])
        table.add_row(str(name), token, *numbers, *([Text(label_text(labels, name))] if labels else []))
    console.print(table)


def _print_paths(console: Console, graph: StoredGraph, count: int, labels: Labels) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("share", justify="right")
    table.add_column("strongest paths from a token to the top target, by layer/feature@position")
    for path in graph.paths_to_top_target(count):
        sign = "-" if path.sign < 0 else "+"
        table.add_row(
            f"{sign}{path.strength:.4f}", Text(" → ".join(_named(graph, node, labels) for node in path.nodes))
        )
    console.print(table)


def _named(graph: StoredGraph, index: int, labels: Labels) -> str:
    node = graph.node(index)
    if node["kind"] != "feature":
        return graph.label(index)
    return labelled(labels, FeatureName(node["layer"], node["feature"], node["position"]))


def _print_heads(console: Console, graph: StoredGraph, count: int) -> None:
    from rich.table import Table
    from rich.text import Text

    carried = graph.carriers(count)
    if not carried:
        return
    table = Table("strongest edges", "carried by (layer.head and the token that it looks at)")
    for edge, paths in carried:
        ends = f"{graph.label(graph.edges.source[edge])} → {graph.label(graph.edges.target[edge])}"
        shares = [f"{row['share']:+.0%} {_carrier(graph, row)}" for row in paths[:HEADS_SHOWN]]
        table.add_row(Text(ends), Text(", ".join(shares)))
    console.print(table)


def _carrier(graph: StoredGraph, row: dict[str, Any]) -> str:
    if row["path"] == "other":
        return "other heads"
    if row["path"] == "residual":
        return "no head"
    key = row["key_position"]
    return f"{row['head_layer']}.{row['head']} at {token_label(graph.prompt['tokens'][key])}@{key}"


if __name__ == "__main__":
    raise SystemExit(run_command(main))
