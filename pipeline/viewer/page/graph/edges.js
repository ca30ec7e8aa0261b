// The curves of edges: cubic, vertical at both ends, bowed into the gutter within a column so that they hide no
// node. Eight numbers an edge: x and y of the start, of two control points, and of the end.

import { SLOT } from "viewer/graph/layout.js";

/** Curves of all edges; what is not laid out (NaN) has none. */
export function curvesOf(graph, layout) {
  const curves = new Float32Array(graph.edgeCount * 8);
  for (let edge = 0; edge < graph.edgeCount; edge++) {
    curve(curves, edge * 8, layout, graph.source[edge], graph.target[edge]);
  }
  return curves;
}

function curve(into, at, layout, source, target) {
  const x0 = layout.x[source];
  const y0 = layout.y[source];
  const x1 = layout.x[target];
  const y1 = layout.y[target];
  const rise = y0 - y1;
  const reach = Math.max(Math.abs(rise) * 0.45, 18) * Math.sign(rise || 1);
  // A straight line between two nodes one above the other would run through those in between.
  const isSteep = Math.abs(x1 - x0) < SLOT.width && rise > SLOT.height * 1.6;
  const bow = isSteep ? (source % 2 ? 1 : -1) * (SLOT.width * 0.62) : 0;
  into[at] = x0;
  into[at + 1] = y0;
  into[at + 2] = x0 + bow;
  into[at + 3] = y0 - reach;
  into[at + 4] = x1 + bow;
  into[at + 5] = y1 + reach;
  into[at + 6] = x1;
  into[at + 7] = y1;
}

/** Point of a curve at `t`, 0 to 1. */
export function pointAt(curves, edge, t) {
  const at = edge * 8;
  const s = 1 - t;
  const [a, b, c, d] = [s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t];
  return {
    x: a * curves[at] + b * curves[at + 2] + c * curves[at + 4] + d * curves[at + 6],
    y: a * curves[at + 1] + b * curves[at + 3] + c * curves[at + 5] + d * curves[at + 7],
  };
}

/** Does the curve's box meet the window {x0, y0, x1, y1}? A curve lies within its four points' box. */
export function meets(curves, edge, window) {
  const at = edge * 8;
  let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let point = 0; point < 8; point += 2) {
    left = Math.min(left, curves[at + point]);
    right = Math.max(right, curves[at + point]);
    top = Math.min(top, curves[at + point + 1]);
    bottom = Math.max(bottom, curves[at + point + 1]);
  }
  return right >= window.x0 && left <= window.x1 && bottom >= window.y0 && top <= window.y1;
}

/** The strongest edges in the window (at most `most`), and all others of those shown. */
export function strongestIn(curves, edges, window, most) {
  const strong = [];
  let index = 0;
  for (; index < edges.length && strong.length < most; index++) {
    if (meets(curves, edges[index], window)) strong.push(edges[index]);
  }
  return { strong, rest: edges.subarray(index) };
}
