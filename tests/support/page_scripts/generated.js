// Generated graphs, for the page's own tests: the same seed gives the same graph.

/** A generator of numbers in [0, 1) (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** An answer of `/api/graph` with so many edges, at most: features and errors in cells, a token a position, targets. */
export function generatedGraph({ seed = 1, edges = 1000, nodes = 100, layers = 6, positions = 12, targets = 1 }) {
  const random = seeded(seed);
  const rows = [];
  for (let node = 0; node < nodes; node++) {
    // Most of what matters stands late.
    const position = Math.min(positions - 1, Math.floor(positions * Math.sqrt(random())));
    const kind = random() < 0.9 ? 0 : 1;
    rows.push({ kind, layer: Math.floor(random() * layers), position, feature: kind ? 0 : Math.floor(random() * 1e6) });
  }
  for (let position = 0; position < positions; position++) rows.push({ kind: 2, layer: -1, position, feature: 100 + position });
  for (let target = 0; target < targets; target++) rows.push({ kind: 3, layer: layers, position: positions - 1, feature: target });
  const unique = [...new Map(rows.map((row) => [`${row.kind} ${row.layer} ${row.position} ${row.feature}`, row])).values()];
  const column = (Type, of) => Type.from(unique, of);
  const influence = column(Float32Array, (row) => (row.kind === 3 ? 0 : random() ** 4));
  const arrays = {
    kind: column(Uint8Array, (row) => row.kind),
    layer: column(Int32Array, (row) => row.layer),
    position: column(Uint32Array, (row) => row.position),
    feature: column(Uint32Array, (row) => row.feature),
    activation: column(Float32Array, (row) => (row.kind === 3 ? 1 / targets : random())),
    influence,
    cumulative: cumulativeOf(influence),
    total_input: column(Float32Array, () => 0.5 + random()),
    stability: column(Float32Array, () => random()),
  };
  return { header: headerOf(unique, layers, positions, targets), arrays: { ...arrays, ...edgesOf(unique, edges, layers, random) } };
}

function cumulativeOf(influence) {
  const whole = influence.reduce((a, b) => a + b, 0);
  const order = [...influence.keys()].sort((a, b) => influence[b] - influence[a]);
  const cumulative = new Float32Array(influence.length);
  let sum = 0;
  for (const node of order) cumulative[node] = Math.min(1, (sum += influence[node] / whole));
  return cumulative;
}

function headerOf(nodes, layers, positions, targets) {
  return {
    layers,
    prompt: { id: "made", text: "made", tokens: Array.from({ length: positions }, (_, p) => ` word${p}`) },
    targets: Array.from({ length: targets }, (_, i) => ({ label: ` answer${i}`, probability: 1 / targets })),
    scores: {},
    counts: { edges: 0, edges_sent: 0 },
  };
}

function edgesOf(nodes, edges, layers, random) {
  const height = (node) => (node.kind === 2 ? -1 : node.kind === 3 ? layers : node.layer);
  const seen = new Set();
  const found = [];
  for (let tries = 0; found.length < edges && tries < 20 * edges; tries++) {
    const [source, target] = [Math.floor(random() * nodes.length), Math.floor(random() * nodes.length)];
    const [from, to] = [nodes[source], nodes[target]];
    const goesUp = height(from) < height(to) && from.position <= to.position && from.kind !== 3 && (to.kind === 0 || to.kind === 3);
    const key = source * nodes.length + target;
    if (!goesUp || seen.has(key)) continue;
    seen.add(key);
    found.push({ source, target, weight: (random() - 0.35) * 0.2, score: random() ** 6 });
  }
  found.sort((a, b) => b.score - a.score);
  return {
    source: Uint32Array.from(found, (edge) => edge.source),
    target: Uint32Array.from(found, (edge) => edge.target),
    weight: Float32Array.from(found, (edge) => edge.weight),
    score: Float32Array.from(found, (edge) => edge.score),
  };
}
