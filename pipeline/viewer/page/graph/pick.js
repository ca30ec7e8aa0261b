// What is under the pointer, and which node is next in a direction. A plain scan: three thousand nodes take a
// fiftieth of a millisecond.

import { pointAt } from "viewer/graph/edges.js";

/** The node nearest to a point of the layout, within its radius and `slack`; -1 for none. */
export function nodeAt(marks, x, y, slack) {
  let best = -1;
  let least = Infinity;
  for (const mark of marks) {
    const distance = Math.hypot(mark.x - x, mark.y - y) - mark.r;
    if (distance < slack && distance < least) [best, least] = [mark.node, distance];
  }
  return best;
}

/** The `+n` of a full cell under a point; undefined for none. */
export const moreAt = (layout, x, y, slack) => layout.more.find((more) => Math.hypot(more.x - x, more.y - y) < slack + 8);

/** The stroke nearest to a point, within `slack`; -1 for none. */
export function edgeAt(curves, styles, x, y, slack) {
  let best = -1;
  let least = slack;
  for (const style of styles) {
    for (const edge of style.edges) {
      for (let t = 0; t <= 1; t += 1 / 24) {
        const point = pointAt(curves, edge, t);
        const distance = Math.hypot(point.x - x, point.y - y);
        if (distance < least) [best, least] = [edge, distance];
      }
    }
  }
  return best;
}

/** Nodes shown, by line from top to bottom, each line from left to right. A `+n` is one stop: its strongest node. */
export function linesOf(layout, shown) {
  const lines = new Map();
  const seen = new Set();
  for (let node = 0; node < layout.x.length; node++) {
    if (!shown.nodes[node] || Number.isNaN(layout.x[node])) continue;
    const under = layout.under[node];
    if (under >= 0 && seen.has(under)) continue;
    if (under >= 0) seen.add(under);
    const y = Math.round(layout.y[node]);
    if (!lines.has(y)) lines.set(y, []);
    lines.get(y).push(node);
  }
  const ordered = [...lines.entries()].sort(([a], [b]) => a - b).map(([, nodes]) => nodes);
  for (const nodes of ordered) nodes.sort((a, b) => layout.x[a] - layout.x[b] || a - b);
  return ordered;
}

/** The next node from one in a direction ("left", "right", "up", "down"): along its line, or the nearest of the next. */
export function nextNode(layout, lines, node, direction) {
  if (!lines.length) return -1;
  const at = lines.findIndex((line) => line.includes(node));
  if (at < 0) return lines.at(-1)[0];
  const line = lines[at];
  const rank = line.indexOf(node);
  if (direction === "left") return line[Math.max(0, rank - 1)];
  if (direction === "right") return line[Math.min(line.length - 1, rank + 1)];
  const other = lines[at + (direction === "up" ? -1 : 1)];
  if (!other) return node;
  const away = (one) => Math.abs(layout.x[one] - layout.x[node]);
  return other.reduce((best, one) => (away(one) < away(best) ? one : best), other[0]);
}
