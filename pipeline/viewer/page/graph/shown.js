// Which nodes and edges the sliders let through, and what they hide. Nothing here moves a node.

import { ERROR, FEATURE, TARGET, TOKEN } from "viewer/graph/graph.js";

/**
 * Say what is shown.
 *
 * A feature or an error is shown if its cumulative influence is at most `n` (tokens and targets always are, and
 * pinned nodes); an edge if both its ends are, and if it is among the strongest that carry the share `e` of the
 * score of all. An edge whose running share just passes `e` counts, so that `e` is reached.
 */
export function shownOf(graph, { n = 1, e = 1, errors = true, pin = [] } = {}) {
  const nodes = new Uint8Array(graph.count);
  const pinned = new Set(pin.map((name) => graph.byName.get(name)));
  for (let node = 0; node < graph.count; node++) {
    const kind = graph.kind[node];
    const always = kind === TOKEN || kind === TARGET || pinned.has(node);
    nodes[node] = always || ((n >= 1 || graph.cumulative[node] <= n) && (errors || kind !== ERROR)) ? 1 : 0;
  }
  const last = e >= 1 ? graph.edgeCount : Math.min(graph.edgeCount, firstAtLeast(graph.running, e) + 1);
  const edges = new Uint32Array(last);
  let kept = 0;
  for (let edge = 0; edge < last; edge++) {
    if (nodes[graph.source[edge]] && nodes[graph.target[edge]]) edges[kept++] = edge;
  }
  return { nodes, edges: edges.subarray(0, kept), counts: countsOf(graph, nodes, edges.subarray(0, kept)) };
}

/** Index of the first value that is at least `least`, in a rising array. */
export function firstAtLeast(rising, least) {
  let low = 0;
  let high = rising.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rising[middle] < least - 1e-12) low = middle + 1;
    else high = middle;
  }
  return low;
}

function countsOf(graph, nodes, edges) {
  let shownNodes = 0;
  let all = 0;
  let influence = 0;
  let allInfluence = 0;
  for (let node = 0; node < graph.count; node++) {
    if (graph.kind[node] !== FEATURE && graph.kind[node] !== ERROR) continue;
    all++;
    allInfluence += graph.influence[node];
    if (!nodes[node]) continue;
    shownNodes++;
    influence += graph.influence[node];
  }
  let score = 0;
  let allScore = 0;
  for (const edge of edges) score += graph.score[edge];
  for (let edge = 0; edge < graph.edgeCount; edge++) allScore += graph.score[edge];
  return {
    nodes: shownNodes,
    allNodes: all,
    edges: edges.length,
    allEdges: graph.edgeCount,
    influence: allInfluence > 0 ? influence / allInfluence : 1,
    score: allScore > 0 ? score / allScore : 1,
  };
}
