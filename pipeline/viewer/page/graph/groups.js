// Supernodes and the subgraph of pinned nodes: pure sums over a graph. A supernode in the address is `name:members`,
// members joined by `+`; a member is a node here (`1/484@8`) or a feature wherever it acts (`1/484`).

import { edgesAt, ERROR, FEATURE, TARGET, TOKEN } from "viewer/graph/graph.js";

export const spellGroup = ({ name, members }) => `${name}:${members.join("+")}`;

export function readGroup(text) {
  const split = text.lastIndexOf(":");
  return { name: split > 0 ? text.slice(0, split) : "group", members: text.slice(split + 1).split("+").filter(Boolean) };
}

/** Nodes of the graph that a group holds. */
export function nodesOf(graph, { members }) {
  const wanted = new Set(members);
  const found = [];
  for (let node = 0; node < graph.count; node++) {
    const name = graph.names[node];
    if (wanted.has(name) || (graph.kind[node] === FEATURE && wanted.has(name.split("@")[0]))) found.push(node);
  }
  return found;
}

/** Parts of the subgraph: supernodes, then pinned nodes that are in none; and the targets. */
export function partsOf(graph, groups, pinned) {
  const taken = new Set();
  const parts = [];
  for (const group of groups) {
    const nodes = nodesOf(graph, group).filter((node) => !taken.has(node));
    for (const node of nodes) taken.add(node);
    if (nodes.length) parts.push({ name: group.name, nodes, isGroup: true });
  }
  const targets = [...graph.kind.keys()].filter((node) => graph.kind[node] === TARGET);
  for (const node of [...pinned, ...(parts.length || pinned.length ? targets : [])]) {
    if (taken.has(node)) continue;
    taken.add(node);
    parts.push({ name: graph.names[node], nodes: [node], isGroup: false });
  }
  return parts;
}

/** Ties between parts: summed weight into the target part over what comes into it from outside. */
export function tiesOf(graph, parts) {
  const partOf = new Int32Array(graph.count).fill(-1);
  for (const [index, part] of parts.entries()) for (const node of part.nodes) partOf[node] = index;
  const ties = new Map();
  const outside = parts.map(() => 0);
  for (const [index, part] of parts.entries()) {
    for (const node of part.nodes) {
      const inputs = edgesAt(graph.inputs, node);
      let whole = graph.total_input?.[node];
      if (!(whole > 0)) whole = inputs.reduce((sum, edge) => sum + Math.abs(graph.weight[edge]), 0);
      for (const edge of inputs) {
        const from = partOf[graph.source[edge]];
        if (from === index) whole -= Math.abs(graph.weight[edge]);
        else if (from >= 0) ties.set(`${from} ${index}`, (ties.get(`${from} ${index}`) ?? 0) + graph.weight[edge]);
      }
      outside[index] += Math.max(0, whole);
    }
  }
  return [...ties].map(([key, weight]) => {
    const [source, target] = key.split(" ").map(Number);
    return { source, target, weight, share: outside[target] > 0 ? weight / outside[target] : 0 };
  });
}

/**
 * Scores of the graph if only these features were features and every other one counted as error.
 *
 * Influence starts at the targets by their probabilities and flows down by shares of input. Replacement is the part
 * that ends in tokens, through these features alone; completeness the share of inputs that are neither error nor
 * left out, weighted by the influence of the nodes they go to (tokens and errors have none to lose). What is left out
 * counts whole: in the whole graph, left-out features at one place may cancel, so both scores are at least these.
 */
export function scoresOf(graph, features) {
  const kept = new Set(features);
  const influence = new Float64Array(graph.count);
  let whole = 0;
  for (let node = 0; node < graph.count; node++) if (graph.kind[node] === TARGET) whole += graph.activation[node] || 0;
  for (let node = 0; node < graph.count; node++) if (graph.kind[node] === TARGET) influence[node] = (graph.activation[node] || 0) / (whole || 1);
  const order = [...graph.kind.keys()].filter((node) => graph.kind[node] === TARGET || kept.has(node));
  // From the top down: all of a node's influence has arrived before it is passed on.
  order.sort((a, b) => (graph.kind[b] === TARGET) - (graph.kind[a] === TARGET) || graph.layer[b] - graph.layer[a]);
  let [tokens, errors, carried] = [0, 0, 1];
  for (const node of order) {
    const inputs = edgesAt(graph.inputs, node);
    const all = graph.total_input?.[node] > 0 ? graph.total_input[node] : inputs.reduce((sum, edge) => sum + Math.abs(graph.weight[edge]), 0);
    if (!(all > 0)) continue;
    let held = 0;
    for (const edge of inputs) {
      const source = graph.source[edge];
      const part = Math.abs(graph.weight[edge]) / all;
      if (graph.kind[source] === TOKEN) tokens += influence[node] * part;
      else if (kept.has(source) && graph.kind[source] !== ERROR) influence[source] += influence[node] * part;
      else continue;
      held += part;
    }
    errors += influence[node] * (1 - held);
    if (graph.kind[node] !== TARGET) carried += influence[node];
  }
  carried += tokens + errors;
  return { replacement: tokens + errors > 0 ? tokens / (tokens + errors) : 0, completeness: 1 - errors / carried };
}
