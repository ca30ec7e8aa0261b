// What is to be drawn, in the layout's coordinates: marks of nodes, strokes of edges by style, candidates for
// labels. Made anew when the state changes, not while panning; canvas and SVG draw the same scene.

import { strongestIn } from "viewer/graph/edges.js";
import { edgesAt, ERROR, FEATURE, shareOf, TARGET, TOKEN } from "viewer/graph/graph.js";

export const MOST_STROKES = 1500;
const LEVELS = 8; // widths and opacities of strokes
const SHADES = 6; // of a node's fill, each sign

/** Marks of the nodes shown, sorted by style: dim ones first, then by fill, so that what matters lies on top. */
export function marksOf(graph, layout, shown, { selected = -1, pinned = new Set(), paint = null, dimmed = null } = {}) {
  let most = 0;
  for (let node = 0; node < graph.count; node++) if (graph.kind[node] <= ERROR) most = Math.max(most, graph.influence[node]);
  const marks = [];
  for (let node = 0; node < graph.count; node++) {
    if (!shown.nodes[node] || layout.under[node] >= 0 || Number.isNaN(layout.x[node])) continue;
    const value = paint?.[node] || 0;
    marks.push({
      node,
      x: layout.x[node],
      y: layout.y[node],
      r: radius(graph, node, most),
      shape: graph.kind[node],
      // Beyond 1 are fills that are no amount: GREY and HALF.
      shade: value > 1 ? value : Math.round(Math.max(-1, value) * SHADES) / SHADES,
      isPinned: pinned.has(node),
      isSelected: node === selected,
      isDim: dimmed ? !dimmed.has(node) : false,
    });
  }
  return marks.sort((a, b) => b.isDim - a.isDim || a.shade - b.shade || a.node - b.node);
}

function radius(graph, node, most) {
  if (graph.kind[node] === TOKEN) return 5;
  if (graph.kind[node] === TARGET) return 4 + 4 * Math.sqrt(Math.max(0, graph.activation[node] || 0));
  return 3 + 6 * Math.sqrt(most > 0 ? Math.max(0, graph.influence[node]) / most : 0);
}

/** Strokes of the strongest edges in the window, by style, and the edges left to the density picture. */
export function strokesOf(graph, curves, shown, window, { selected = -1, hovered = -1, edge = -1 } = {}) {
  const { strong, rest } = strongestIn(curves, shown.edges, window, MOST_STROKES);
  const styles = new Map();
  const add = (index, isRaised) => {
    const share = shareOf(graph, index);
    const level = Math.min(LEVELS, Math.max(1, Math.ceil(Math.sqrt(Math.abs(share)) * LEVELS)));
    const key = `${level} ${share < 0} ${isRaised}`;
    if (!styles.has(key)) styles.set(key, { level, isNegative: share < 0, isRaised, edges: [] });
    styles.get(key).edges.push(index);
  };
  const raised = new Set(edge >= 0 ? [edge] : []);
  for (const node of [selected, hovered].filter((one) => one >= 0)) {
    for (const side of [graph.inputs, graph.outputs]) for (const index of edgesAt(side, node)) raised.add(index);
  }
  const visible = raised.size ? new Set(shown.edges) : null;
  for (const index of strong) if (!raised.has(index)) add(index, false);
  for (const index of raised) if (visible.has(index)) add(index, true);
  const order = (style) => style.isRaised * 100 + style.level;
  return { styles: [...styles.values()].sort((a, b) => order(a) - order(b)), rest, isFocused: raised.size > 0 };
}

/** Width and opacity of a style's strokes. */
export function penOf(style, isFocused) {
  const part = style.level / LEVELS;
  const alpha = style.isRaised ? 0.45 + 0.5 * part : (0.1 + 0.55 * part) * (isFocused ? 0.2 : 1);
  return { width: 0.5 + 4.2 * part * part + (style.isRaised ? 0.5 : 0), alpha, dash: style.isNegative ? [5, 3] : [] };
}

/** Nodes tied to a node by an edge, and itself; null for none. */
export function tiedTo(graph, node) {
  if (node < 0) return null;
  const tied = new Set([node]);
  for (const edge of edgesAt(graph.inputs, node)) tied.add(graph.source[edge]);
  for (const edge of edgesAt(graph.outputs, node)) tied.add(graph.target[edge]);
  return tied;
}

/** The label a node has in the picture: its note, else its supernode's name, else what it is. */
export function labelOf(graph, node, notes = new Map()) {
  const name = graph.names[node];
  if (graph.kind[node] === FEATURE) return notes.get(name) ?? notes.get(name.split("@")[0]) ?? name.split("@")[0];
  if (graph.kind[node] === TARGET) return graph.targets?.[Number(name.slice(1))]?.label ?? name;
  if (graph.kind[node] === TOKEN) return graph.nodeLabels?.[node] ?? graph.prompt?.tokens?.[graph.position[node]] ?? name;
  return name.split("@")[0];
}

/** What of a picture is influence, activation, stability: a number of each node in [-1, 1], or null. */
export function paintOf(graph, by, effects = null) {
  if (by === "none") return null;
  if (by === "effect" || by === "what-if") {
    return effects ? scaled(Float64Array.from(graph.names, (name) => effects.get(name) ?? 0)) : null;
  }
  const values = graph[by === "influence" ? "influence" : by];
  return values ? scaled(Float64Array.from(values, (value, node) => (graph.kind[node] <= ERROR ? value || 0 : 0))) : null;
}

function scaled(values) {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most > 0 ? values.map((value) => Math.sign(value) * Math.sqrt(Math.abs(value) / most)) : values;
}
