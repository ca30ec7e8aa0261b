// What a graph's edges say of a change, before the model is asked.

import { edgesAt, FEATURE } from "viewer/graph/graph.js";

/**
 * Change of each node that the edges predict: over the changed nodes, the sum of weight times share of change.
 *
 * `shares` says by which share of its activation each changed node changes (-1: it is taken away). What a feature
 * gets is a share of its activation, and goes on along its edges, layer by layer; changed nodes keep their own. The
 * unit is the edges': a feature's pre-activation, a target's logit less the mean.
 */
export function predictedOf(graph, shares) {
  const predicted = new Float64Array(graph.count);
  const order = [...graph.kind.keys()].filter((node) => graph.kind[node] === FEATURE);
  order.sort((a, b) => graph.layer[a] - graph.layer[b]); // edges go up: what a node gets is whole before it passes it on
  for (const node of order) {
    const share = shares.get(node) ?? (graph.activation[node] > 0 ? predicted[node] / graph.activation[node] : 0);
    if (share) for (const edge of edgesAt(graph.outputs, node)) predicted[graph.target[edge]] += graph.weight[edge] * share;
  }
  return predicted;
}

/** Shares by which changes (`{node, kind, value}`, resolved) change a graph's nodes; a node without position is every one of its feature. */
export function sharesOf(graph, changes) {
  const shares = new Map();
  for (const { node: name, kind, value } of changes) {
    for (let node = 0; node < graph.count; node++) {
      if (graph.kind[node] !== FEATURE || (graph.names[node] !== name && graph.names[node].split("@")[0] !== name)) continue;
      shares.set(node, kind === "scale" ? value - 1 : value / graph.activation[node] - 1);
    }
  }
  return shares;
}
