// Where nodes stand: a column a position, a row a layer, and in each cell a block of nodes. Pure and without
// chance, so that the same graph always looks the same. Lengths are pixels at zoom 1.
//
// Order in a cell: the strongest in the middle row; along a row by supernode, then by the mean place of what a node
// is tied to (two passes over the strongest edges), ties by feature index. Above MOST nodes the weakest of a cell
// share one place, `+n`, until somebody opens it.

import { ERROR, TARGET, TOKEN } from "viewer/graph/graph.js";

export const SLOT = { width: 42, height: 32 };
const TARGET_WIDTH = 78;
const TARGETS_A_ROW = 6;
export const MOST = 24;
const TICK = 14; // width of a position without nodes
const EMPTY_ROW = 12;
const PAD = 16;
const LEAST_ASPECT = 1.25; // width over height
const MOST_ASPECT = 1.6;
const STRONGEST_EDGES = 3000;

/**
 * Lay a graph out.
 *
 * @param graph as `graphOf` gives it
 * @param open cells that show all their nodes, as `layer@position`
 * @param groups supernode index of each node, or null
 * @param only nodes to lay out (one byte each), or null for all
 */
export function layoutOf(graph, { open = [], groups = null, only = null } = {}) {
  const rows = graph.layerCount + 2;
  const cells = cellsOf(graph, rows, only);
  const opened = new Set(open);
  for (const cell of cells.values()) shape(cell, rows, opened);
  const columns = columnsOf(graph, cells);
  const bands = bandsOf(cells, rows, columns.at(-1).x + columns.at(-1).width);
  const layout = {
    x: new Float32Array(graph.count).fill(NaN),
    y: new Float32Array(graph.count).fill(NaN),
    under: new Int32Array(graph.count).fill(-1),
    more: [],
    columns,
    rows: bands.rows,
    width: columns.at(-1).x + columns.at(-1).width,
    height: bands.height,
  };
  for (const cell of cells.values()) cell.nodes.sort((a, b) => byStrength(graph, a, b));
  for (const pass of [0, 1, 2]) {
    const pull = pass === 0 ? null : pulls(graph, layout);
    for (const cell of cells.values()) placeCell(graph, cell, layout, pull, groups, pass === 2);
  }
  return layout;
}

const byStrength = (graph, a, b) => graph.influence[b] - graph.influence[a] || graph.feature[a] - graph.feature[b] || a - b;

/** The row of a node, counted from the bottom: tokens 0, layer l at l + 1, targets on top. */
function rowOf(graph, node, rows) {
  if (graph.kind[node] === TOKEN) return 0;
  return graph.kind[node] === TARGET ? rows - 1 : graph.layer[node] + 1;
}

function cellsOf(graph, rows, only) {
  const cells = new Map();
  for (let node = 0; node < graph.count; node++) {
    if (only && !only[node]) continue;
    const row = rowOf(graph, node, rows);
    // Targets stand above the position that predicts them.
    const position = Math.min(graph.kind[node] === TARGET ? graph.positions - 1 : graph.position[node], graph.positions - 1);
    const key = row * graph.positions + position;
    if (!cells.has(key)) cells.set(key, { row, position, nodes: [], name: `${row - 1}@${position}` });
    cells.get(key).nodes.push(node);
  }
  return new Map([...cells.entries()].sort(([a], [b]) => a - b));
}

function shape(cell, rows, opened) {
  cell.isTarget = cell.row === rows - 1;
  cell.isOpen = cell.isTarget || opened.has(cell.name);
  const shown = cell.isOpen ? cell.nodes.length : Math.min(cell.nodes.length, MOST);
  cell.shown = shown;
  cell.slot = cell.isTarget ? TARGET_WIDTH : SLOT.width;
  // Blocks of 1.6 to 1 read well: wide enough for labels, and no row becomes a line that is hard to hit.
  const across = Math.ceil(Math.sqrt((shown * 1.6 * SLOT.height) / SLOT.width));
  cell.across = Math.max(1, cell.isTarget ? Math.min(shown, TARGETS_A_ROW) : across);
  cell.down = Math.ceil(shown / cell.across);
}

function columnsOf(graph, cells) {
  const widths = new Float64Array(graph.positions).fill(TICK);
  for (const cell of cells.values()) {
    const label = cell.row === 0 ? 28 + 7 * Math.min(labelLength(graph, cell.position), 12) : 0;
    widths[cell.position] = Math.max(widths[cell.position], cell.across * cell.slot + PAD, label);
  }
  const others = widths.slice(0, -1).reduce((sum, width) => sum + width, 0);
  // Most of what decides stands at the last position: it has a quarter of a short prompt's width at least.
  if (graph.positions <= 60) {
    const width = (widths[graph.positions - 1] = Math.max(widths.at(-1), others / 3));
    for (const cell of cells.values()) {
      if (cell.position !== graph.positions - 1) continue;
      cell.across = Math.max(cell.across, Math.min(cell.shown, Math.floor((width - PAD) / cell.slot)));
      cell.down = Math.ceil(cell.shown / cell.across);
    }
  }
  stretch(widths, heightsOf(cells, graph.layerCount + 2).reduce((sum, height) => sum + height, 0) * LEAST_ASPECT);
  let x = 0;
  return Array.from(widths, (width, position) => {
    const column = { position, x, width, center: x + width / 2, isTick: width === TICK };
    x += width;
    return column;
  });
}

/** Share out what is missing to a length among those parts that hold something. */
function stretch(parts, length) {
  const missing = length - parts.reduce((sum, part) => sum + part, 0);
  const least = Math.min(...parts);
  const full = parts.filter((part) => part > least).length || parts.length;
  if (missing <= 0) return;
  for (let at = 0; at < parts.length; at++) if (parts[at] > least || full === parts.length) parts[at] += missing / full;
}

function heightsOf(cells, rows) {
  const heights = new Float64Array(rows).fill(EMPTY_ROW);
  for (const cell of cells.values()) {
    heights[cell.row] = Math.max(heights[cell.row], cell.down * SLOT.height + 1.5 * PAD);
  }
  return heights;
}

const labelLength = (graph, position) => String(graph.prompt?.tokens?.[position] ?? "").length;

function bandsOf(cells, rows, width) {
  const heights = heightsOf(cells, rows);
  // A long prompt through few layers would be a thin strip; tokens and targets keep their height.
  const inner = heights.subarray(1, rows - 1);
  stretch(inner, Math.min(width / MOST_ASPECT, 130 * inner.length) - heights[0] - heights[rows - 1]);
  const total = heights.reduce((sum, height) => sum + height, 0);
  let bottom = total;
  const bands = Array.from(heights, (height, row) => {
    bottom -= height;
    const label = row === 0 ? "tokens" : row === rows - 1 ? "targets" : `L${row - 1}`;
    return { row, label, y: bottom, height, center: bottom + height / 2, isEmpty: height === EMPTY_ROW };
  });
  return { rows: bands, height: total };
}

/** Mean place, weighted by score, of what each node is tied to. */
function pulls(graph, layout) {
  const sum = new Float64Array(graph.count);
  const weight = new Float64Array(graph.count);
  for (let edge = 0; edge < Math.min(graph.edgeCount, STRONGEST_EDGES); edge++) {
    const [source, target, score] = [graph.source[edge], graph.target[edge], graph.score[edge]];
    if (Number.isNaN(layout.x[source]) || Number.isNaN(layout.x[target])) continue;
    sum[source] += score * layout.x[target];
    sum[target] += score * layout.x[source];
    weight[source] += score;
    weight[target] += score;
  }
  return sum.map((value, node) => (weight[node] > 0 ? value / weight[node] : layout.x[node]));
}

function placeCell(graph, cell, layout, pull, groups, isLast) {
  const column = layout.columns[cell.position];
  const band = layout.rows[cell.row];
  const hides = !cell.isOpen && cell.nodes.length > MOST;
  const shown = hides ? cell.nodes.slice(0, MOST - 1) : cell.nodes;
  const order = middleFirst(cell.down);
  const top = band.center - ((cell.down - 1) * SLOT.height) / 2;
  const at = (rank, across) => column.center + (rank - (across - 1) / 2) * cell.slot;
  for (let line = 0; line < cell.down; line++) {
    const members = shown.slice(line * cell.across, (line + 1) * cell.across);
    if (pull) members.sort((a, b) => alongRow(graph, a, b, pull, groups));
    const extra = hides && line === cell.down - 1 ? 1 : 0;
    for (const [rank, node] of members.entries()) {
      layout.x[node] = at(rank, members.length + extra);
      layout.y[node] = top + order[line] * SLOT.height;
    }
    if (extra) {
      const place = { x: at(members.length, members.length + 1), y: top + order[line] * SLOT.height };
      const hidden = cell.nodes.slice(MOST - 1);
      for (const node of hidden) [layout.x[node], layout.y[node]] = [place.x, place.y];
      if (isLast) {
        for (const node of hidden) layout.under[node] = layout.more.length;
        layout.more.push({ ...place, cell: cell.name, nodes: hidden });
      }
    }
  }
}

function alongRow(graph, a, b, pull, groups) {
  const group = groups ? groups[a] - groups[b] : 0;
  const error = (graph.kind[a] === ERROR) - (graph.kind[b] === ERROR);
  return group || pull[a] - pull[b] || error || graph.feature[a] - graph.feature[b] || a - b;
}

/** Lines from the middle outwards: of 4: 1, 2, 0, 3. */
export function middleFirst(lines) {
  const middle = (lines - 1) / 2;
  return Array.from({ length: lines }, (_, line) => line).sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle) || a - b);
}

/** The part of a layout to open on: all of a short prompt, else the positions that hold most of the influence. */
export function openingSpan(graph, layout, share = 0.95) {
  if (graph.positions <= 60) return { x: 0, width: layout.width };
  const mass = new Float64Array(graph.positions);
  for (let node = 0; node < graph.count; node++) {
    if (graph.kind[node] !== TARGET) mass[Math.min(graph.position[node], graph.positions - 1)] += graph.influence[node];
  }
  const whole = mass.reduce((sum, value) => sum + value, 0);
  let first = graph.positions - 1;
  let held = mass[first];
  // From the end backwards: what decides is read off at the last position.
  while (first > 0 && held < share * whole) held += mass[--first];
  const x = layout.columns[first].x;
  return { x, width: layout.width - x };
}
