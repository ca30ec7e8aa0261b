// Two graphs as one: nodes and edges in both, only in the first, only in the second. Positions are counted from the
// end, so that prompts of different lengths stand over one another where it matters.

import { FEATURE, graphOf, TARGET, TOKEN } from "viewer/graph/graph.js";

export const BOTH = 0;
export const ONLY_A = 1;
export const ONLY_B = 2;
export const CHANGED = 3;

/** A change of activation or influence below this share is none. */
const NOISE = 0.05;

export function unionOf(a, b, isSamePrompt) {
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
      const key = `${graph.kind[node]} ${graph.layer[node]} ${position} ${what}`;
      if (!nodes.has(key)) nodes.set(key, { kind: graph.kind[node], layer: graph.layer[node], position, feature: graph.feature[node], label: target, a: -1, b: -1 });
      nodes.get(key)[side] = node;
      return key;
    });
  };
  const keysA = put(a, "a");
  const keysB = put(b, "b");
  const rows = [...nodes.values()].sort((x, y) => x.kind - y.kind);
  const indexOf = new Map([...nodes].map(([key, row]) => [key, rows.indexOf(row)]));
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
  union.states = rows.map((row) => stateOf(row, a, b));
  return union;
}

function stateOf(row, a, b) {
  if (row.b < 0) return ONLY_A;
  if (row.a < 0) return ONLY_B;
  if (row.kind !== FEATURE) return BOTH;
  const differ = (x, y) => Math.abs(x - y) > NOISE * Math.max(Math.abs(x), Math.abs(y));
  return differ(a.activation[row.a], b.activation[row.b]) || differ(a.influence[row.a], b.influence[row.b]) ? CHANGED : BOTH;
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
