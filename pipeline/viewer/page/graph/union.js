// Two graphs as one: nodes and edges in both, only in the first, only in the second. Positions are counted from the
// end, so that prompts of different lengths stand over one another where it matters.

import { FEATURE, graphOf, TARGET, TOKEN } from "viewer/graph/graph.js";

export const BOTH = 0;
export const ONLY_A = 1;
export const ONLY_B = 2;
export const CHANGED = 3;

/** A change of activation or influence below this share is none. */
const NOISE = 0.05;

/**
 * The union of two graphs. Where their dictionaries differ, features of B come with `match_layer` and `match_feature`,
 * their counterparts in A: those without one are only in B, and activations, which have other units, are not compared.
 */
export function unionOf(a, b, isSamePrompt) {
  const isMatched = Boolean(b.match_layer);
  const positions = Math.max(a.positions, b.positions);
  const longer = a.positions >= b.positions ? a : b;
  const nodes = new Map();
  const put = (graph, side) => {
    const shift = positions - graph.positions;
    return graph.names.map((_, node) => {
      const position = graph.position[node] + shift;
      const isText = graph.kind[node] === TOKEN && isSamePrompt;
      const target = graph.kind[node] === TARGET ? graph.targets?.[Number(graph.names[node].slice(1))]?.label : "";
      const what = graph.kind[node] === TOKEN ? (isText ? graph.feature[node] : "") : graph.kind[node] === TARGET ? target : graph.feature[node];
      const place = placeOf(graph, node, isMatched && side === "b");
      const key = `${graph.kind[node]} ${place.layer} ${position} ${graph.kind[node] === FEATURE ? place.feature : what} ${place.isOwn}`;
      if (!nodes.has(key)) nodes.set(key, { kind: graph.kind[node], ...place, position, label: target, a: -1, b: -1 });
      nodes.get(key)[side] = node;
      return key;
    });
  };
  const keysA = put(a, "a");
  const keysB = put(b, "b");
  const rows = [...nodes.values()].sort((x, y) => x.kind - y.kind);
  const numbers = new Map(rows.map((row, number) => [row, number]));
  const indexOf = new Map([...nodes].map(([key, row]) => [key, numbers.get(row)]));
  const column = (Type, of) => Type.from(rows, of);
  const mean = (name) => (row) => Math.max(row.a >= 0 ? (a[name][row.a] ?? 0) : 0, row.b >= 0 ? (b[name][row.b] ?? 0) : 0);
  const edges = edgesOf([a, b], [keysA, keysB], indexOf);
  const union = graphOf({
    header: { layers: Math.max(a.layerCount, b.layerCount), prompt: { ...longer.prompt, tokens: tokensOf(a, b, positions) }, targets: rows.filter((row) => row.kind === TARGET).map(({ label }) => ({ label })) },
    arrays: {
      kind: column(Uint8Array, (row) => row.kind), layer: column(Int32Array, (row) => row.layer), position: column(Uint32Array, (row) => row.position), feature: column(Uint32Array, (row) => row.feature),
      activation: column(Float32Array, mean("activation")), influence: column(Float32Array, mean("influence")), stability: column(Float32Array, mean("stability")),
      cumulative: column(Float32Array, (row) => Math.min(row.a >= 0 ? a.cumulative[row.a] : 1, row.b >= 0 ? b.cumulative[row.b] : 1)),
      total_input: column(Float32Array, mean("total_input")),
      ...edges,
    },
  });
  union.rows = rows;
  union.states = rows.map((row) => stateOf(row, a, b, isMatched));
  for (const [node, row] of rows.entries()) if (row.isOwn) union.names[node] = `B:${union.names[node]}`; // A has one of this number
  union.byName = new Map(union.names.map((name, node) => [name, node]));
  return union;
}

/** Where a node stands: a feature of another dictionary at its counterpart, or at its own place, where it has none. */
function placeOf(graph, node, isOther) {
  const own = { layer: graph.layer[node], feature: graph.feature[node], isOwn: false };
  if (!isOther || graph.kind[node] !== FEATURE) return own;
  if (graph.match_layer[node] < 0) return { ...own, isOwn: true };
  return { layer: graph.match_layer[node], feature: graph.match_feature[node], isOwn: false };
}

function stateOf(row, a, b, isMatched) {
  if (row.b < 0) return ONLY_A;
  if (row.a < 0) return ONLY_B;
  if (row.kind !== FEATURE) return BOTH;
  const differ = (x, y) => Math.abs(x - y) > NOISE * Math.max(Math.abs(x), Math.abs(y));
  return (!isMatched && differ(a.activation[row.a], b.activation[row.b])) || differ(a.influence[row.a], b.influence[row.b]) ? CHANGED : BOTH;
}

function tokensOf(a, b, positions) {
  return Array.from({ length: positions }, (_, position) => {
    const one = a.prompt.tokens[position - positions + a.positions];
    const two = b.prompt.tokens[position - positions + b.positions];
    return one === two || two === undefined ? one : one === undefined ? two : `${one} | ${two}`;
  });
}

function edgesOf(graphs, keys, indexOf) {
  const found = new Map();
  for (const [side, graph] of graphs.entries()) {
    for (let edge = 0; edge < graph.edgeCount; edge++) {
      const [source, target] = [indexOf.get(keys[side][graph.source[edge]]), indexOf.get(keys[side][graph.target[edge]])];
      const key = `${source} ${target}`;
      if (!found.has(key)) found.set(key, { source, target, weight: 0, score: 0, sides: 0 });
      const row = found.get(key);
      if (graph.score[edge] >= row.score) Object.assign(row, { score: graph.score[edge], weight: graph.weight[edge] });
      row.sides |= 1 << side;
    }
  }
  const rows = [...found.values()].sort((x, y) => y.score - x.score || x.source - y.source || x.target - y.target);
  return {
    source: Uint32Array.from(rows, (row) => row.source), target: Uint32Array.from(rows, (row) => row.target),
    weight: Float32Array.from(rows, (row) => row.weight), score: Float32Array.from(rows, (row) => row.score),
  };
}
