// A graph as the page holds it: the arrays of a packed answer, with names, adjacency and running sums.

export const FEATURE = 0;
export const ERROR = 1;
export const TOKEN = 2;
export const TARGET = 3;

/** Names of the kinds, as people read them. */
export const KINDS = ["feature", "error", "token", "target"];

/** Build the graph of an answer of `/api/graph`. Edges come sorted by falling score. */
export function graphOf({ header, arrays }) {
  const count = arrays.kind.length;
  const edges = arrays.source.length;
  const names = [];
  const byName = new Map();
  let target = 0;
  for (let node = 0; node < count; node++) {
    const index = arrays.kind[node] === TARGET ? target++ : 0;
    names.push(nameOf(arrays, node, index));
    byName.set(names[node], node);
  }
  return {
    ...header,
    ...arrays,
    count,
    edgeCount: edges,
    names,
    byName,
    running: runningShare(arrays.score),
    inputs: adjacency(arrays.target, count),
    outputs: adjacency(arrays.source, count),
    layerCount: header.layers ?? layersOf(arrays),
    positions: header.prompt?.tokens?.length ?? 1 + arrays.position.reduce((most, p) => Math.max(most, p), 0),
  };
}

/** The name of a node as every command spells it: `1/484@8`, token `t7`, error `e3@8`, target `y0`. */
function nameOf({ kind, layer, position, feature }, node, target) {
  if (kind[node] === FEATURE) return `${layer[node]}/${feature[node]}@${position[node]}`;
  if (kind[node] === ERROR) return `e${layer[node]}@${position[node]}`;
  return kind[node] === TOKEN ? `t${position[node]}` : `y${target}`;
}

/** `2/350` of `2/350@8`; empty for what is no feature. */
export const featureOf = (name) => (/^\d+\/\d+/.test(name) ? name.split("@")[0] : "");

function layersOf({ kind, layer }) {
  let most = 0;
  for (let node = 0; node < kind.length; node++) if (kind[node] <= ERROR) most = Math.max(most, layer[node] + 1);
  return most;
}

/** Share of the whole score that the first edges carry, up to and with each. */
function runningShare(score) {
  const running = new Float64Array(score.length);
  let sum = 0;
  for (let edge = 0; edge < score.length; edge++) running[edge] = sum += score[edge];
  for (let edge = 0; edge < score.length && sum > 0; edge++) running[edge] /= sum;
  return running;
}

/** Edges by one of their ends, strongest first: those of node i are `list[start[i]]` to `list[start[i + 1]]`. */
function adjacency(end, count) {
  const start = new Uint32Array(count + 1);
  for (let edge = 0; edge < end.length; edge++) start[end[edge] + 1]++;
  for (let node = 0; node < count; node++) start[node + 1] += start[node];
  const list = new Uint32Array(end.length);
  const next = start.slice(0, count);
  for (let edge = 0; edge < end.length; edge++) list[next[end[edge]]++] = edge;
  return { start, list };
}

/** Edges into a node (`graph.inputs`) or out of it (`graph.outputs`), strongest first. */
export const edgesAt = (side, node) => side.list.subarray(side.start[node], side.start[node + 1]);

/** The share of its target's whole input that an edge brings, signed. Targets of no known input: of the edges kept. */
export function shareOf(graph, edge) {
  const target = graph.target[edge];
  let whole = graph.total_input?.[target];
  if (!(whole > 0)) {
    whole = 0;
    for (const other of edgesAt(graph.inputs, target)) whole += Math.abs(graph.weight[other]);
  }
  return whole > 0 ? graph.weight[edge] / whole : 0;
}
