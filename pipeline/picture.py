"""An attribution graph as SVG or PNG: for papers, `show --picture`, notebooks. No browser, no tensors.

Columns are positions, rows are layers, targets are on top: everything flows upwards. A line is wider the more
influence flows over it; blue edges are positive, red ones negative. Text can be selected, and what cannot be
printed is escaped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import accumulate

from pipeline.errors import ConfigurationError
from pipeline.token_labels import printable_token

LEFT, TOP, ROW = 74, 26, 70
"""Margins and the distance of two layers, in pixels."""

NODE = 40
"""Room for a node and its name, in pixels."""

LEGEND = (
    ("circle", "feature, layer/index"),
    ("error", "error of a layer"),
    ("box", "token, or target with its probability"),
    ("for", "positive edge"),
    ("against", "negative edge"),
)

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .small { font-size: 10px; fill: #57606a; paint-order: stroke; stroke: #fff; stroke-width: 3px }
  .for { stroke: #2f6fb4 } .against { stroke: #c0392b }
  line { stroke-opacity: .6 }
  .feature { fill: #fff; stroke: #24292f; stroke-width: 1.3 }
  .error { fill: #d0d7de; stroke: #6e7781 }
  .box { fill: #f6f8fa; stroke: #8c959f }
"""

PROBE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><text x="4" y="30">{}</text></svg>'

LONGEST = 40
"""Letters of a token that are shown."""

MOST_EDGES = 1500
"""Edges that are drawn, the strongest."""

Point = tuple[float, float]


@dataclass(frozen=True)
class GraphPicture:
    """What is drawn of a graph; nodes by index."""

    text: str
    """The prompt."""

    n_layers: int
    tokens: Sequence[str]
    """Text of each position."""

    kinds: Sequence[str]
    """`feature`, `error`, `token` or `logit`."""

    layers: Sequence[int]
    """-1 for tokens, the number of layers for targets."""

    positions: Sequence[int]
    names: Sequence[str]
    """Text beside, or in, each node."""

    source: Sequence[int]
    target: Sequence[int]
    weight: Sequence[float]
    influence: Sequence[float]
    """Of each edge on the targets."""

    def svg(self) -> str:
        """Return the picture as SVG."""
        points, width = _layout(self)
        height = TOP + ROW * (self.n_layers + 1) + 62
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">',
            f"<title>Attribution graph of: {_shown(self.text)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect width="{width:.0f}" height="{height}" rx="6" fill="#fff"/>',
            *_row_names(self),
            *_edges(self, points),
            *_nodes(self, points),
            *_legend(height - 18),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    def png(self) -> bytes:
        """Return the picture as PNG, at twice its size.

        Raises:
            ConfigurationError: what draws it is not installed, or there is no font.

        """
        try:
            from resvg_py import svg_to_bytes
        except ImportError as error:
            raise ConfigurationError(
                "a PNG is drawn by resvg, which is not installed: pip install 'circuit-sweep[png]', or take "
                "an SVG."
            ) from error
        letter, none = (bytes(svg_to_bytes(svg_string=PROBE.format(letter))) for letter in ("M", " "))
        if letter == none:  # it leaves text out where no font is found
            raise ConfigurationError(
                "there is no font here to write a PNG's text with: install one (Debian: fonts-dejavu-core), "
                "or take an SVG."
            )
        return bytes(svg_to_bytes(svg_string=self.svg(), zoom=2))


def _shown(text: str) -> str:
    return escape(printable_token(text))


def _height(picture: GraphPicture, layer: int) -> float:
    """Return the vertical centre of a layer; -1 is the tokens, L the target."""
    return TOP + ROW * (picture.n_layers - layer)


def _layout(picture: GraphPicture) -> tuple[list[Point], float]:
    """Put the nodes of each (layer, position) side by side, and make each column as wide as it must be."""
    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    for node, cell in enumerate(zip(picture.layers, picture.positions, strict=True)):
        cells[cell].append(node)
    widths = [7.0 * len(printable_token(token).strip()[:LONGEST]) + 28 for token in picture.tokens]
    for (_, position), nodes in cells.items():
        widths[position] = max(widths[position], NODE * len(nodes) + 14)
    starts = [LEFT, *(LEFT + end for end in accumulate(widths))]
    points = [(0.0, 0.0)] * len(picture.kinds)
    for (layer, position), nodes in cells.items():
        centre = starts[position] + widths[position] / 2
        for index, node in enumerate(nodes):
            points[node] = (centre + (index - (len(nodes) - 1) / 2) * NODE, _height(picture, layer))
    return points, starts[-1]


def _row_names(picture: GraphPicture) -> list[str]:
    names = {-1: "tokens", picture.n_layers: "target"}
    return [
        f'<text class="small" x="12" y="{_height(picture, layer) + 4:.0f}">'
        f"{names.get(layer, f'layer {layer}')}</text>"
        for layer in range(-1, picture.n_layers + 1)
    ]


def _edges(picture: GraphPicture, points: list[Point]) -> list[str]:
    """Return the lines, faint ones first so that strong ones lie on top."""
    lines = []
    order = sorted(range(len(picture.source)), key=lambda edge: picture.influence[edge])
    for edge in order[-MOST_EDGES:]:
        (x1, y1), (x2, y2) = points[picture.source[edge]], points[picture.target[edge]]
        side = "for" if picture.weight[edge] > 0 else "against"
        # By the root, so that the widest line does not hide that there are others.
        width = max(0.4, 9 * picture.influence[edge] ** 0.5)
        lines.append(
            f'<line class="{side}" x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" '
            f'stroke-width="{width:.1f}"/>'
        )
    return lines


def _nodes(picture: GraphPicture, points: list[Point]) -> list[str]:
    parts = []
    for kind, name, (x, y) in zip(picture.kinds, picture.names, points, strict=True):
        if kind == "feature":
            parts += _circle(x, y)
            parts.append(
                f'<text class="small" text-anchor="middle" x="{x:.0f}" y="{y - 10:.0f}">{escape(name)}</text>'
            )
        elif kind == "error":
            parts += _diamond(x, y)
        else:
            parts += _box(x, y, name)
    return parts


def _circle(x: float, y: float) -> list[str]:
    return [f'<circle class="feature" cx="{x:.0f}" cy="{y:.0f}" r="6.5"/>']


def _diamond(x: float, y: float) -> list[str]:
    return [
        f'<rect class="error" x="{x - 5:.0f}" y="{y - 5:.0f}" width="10" height="10" '
        f'transform="rotate(45 {x:.0f} {y:.0f})"/>'
    ]


def _box(x: float, y: float, text: str) -> list[str]:
    text = printable_token(text).strip()
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    width = 7 * len(text) + 14
    return [
        f'<rect class="box" x="{x - width / 2:.0f}" y="{y - 11:.0f}" width="{width}" height="22" rx="4"/>',
        f'<text text-anchor="middle" x="{x:.0f}" y="{y + 4:.0f}">{escape(text)}</text>',
    ]


def _legend(y: float) -> list[str]:
    parts, x = [], LEFT
    for sign, meaning in LEGEND:
        if sign == "circle":
            parts += _circle(x, y)
        elif sign == "error":
            parts += _diamond(x, y)
        elif sign == "box":
            parts.append(f'<rect class="box" x="{x - 10}" y="{y - 6:.0f}" width="20" height="12" rx="3"/>')
        else:
            parts.append(
                f'<line class="{sign}" x1="{x - 10}" y1="{y}" x2="{x + 10}" y2="{y}" stroke-width="3"/>'
            )
        parts.append(f'<text class="small" x="{x + 16}" y="{y + 4:.0f}">{meaning}</text>')
        x += 46 + round(5.2 * len(meaning))
    return parts
